package conv
import ("testing";"fmt";"os";"runtime";"strconv";"syscall";"github.com/atelier-go/atelier/compute";"github.com/atelier-go/atelier/cpu/internal/isa";"github.com/atelier-go/atelier/cpu/internal/kernel/gemm")
func cpuNow() int64 { var r syscall.Rusage; syscall.Getrusage(1,&r); return r.Utime.Nano()+r.Stime.Nano() }
func TestZZ(t *testing.T){
 runtime.LockOSThread()
 reps,_:=strconv.Atoi(os.Getenv("REPS")); if reps==0 {reps=6}
 out:=""
 for _,cfg:=range []Config{same(2, 64, 64, 320, 0, 320), same(2, 64, 64, 640, 320, 320),same(2, 32, 32, 640, 0, 640),same(2, 32, 32, 1280, 640, 640),same(2, 16, 16, 1280, 0, 1280),same(2, 8, 8, 1280, 0, 1280),same(1, 128, 128, 512, 0, 512),same(1, 256, 256, 256, 0, 256),same(1, 512, 512, 128, 0, 128)}{
  if f:=os.Getenv("ONLY"); f!="" && f!=fmt.Sprint(cfg.H) {continue}
  h,_:=cfg.Output()
  cfg.Workers=2
  C:=cfg.C1+cfg.C2
  w,_:=gemm.For(isa.AVX512).Pack(nil, Weights(make([]byte, 2*cfg.Cout*C*9), compute.F16, cfg.Cout, C, 3, 3))
  p,err:=NewPlan(w,cfg); if err!=nil {t.Fatal(err)}
  a:=&gemm.Args{X: huge(cfg.N*cfg.H*cfg.W*cfg.C1), X2: huge(cfg.N*cfg.H*cfg.W*cfg.C2),Y: huge(cfg.N * h * h * cfg.Cout), Workspace: huge(p.Need().Workspace)}
  s:=scratches(p.Need(),1)
  best:=int64(1<<62)
  for range reps {st:=cpuNow();run(p,s,a);best=min(best,cpuNow()-st)}
  out+=fmt.Sprintf(" %.0f",float64(p.FLOPs())/float64(best))
 }
 fmt.Println(out, maxV>>20, maxDepth)
}
