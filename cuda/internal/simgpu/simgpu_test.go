package simgpu_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/ptx"
	"github.com/atelier-go/atelier/cuda/internal/realcard"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
	"github.com/atelier-go/atelier/internal/f16"
)

// run writes a kernel of one pointer, the result, and launches it.
func run(t *testing.T, threads int, l simgpu.Launch, resultBytes int, write func(k *ptx.Kernel, out ptx.Addr)) ([]byte, simgpu.Stats, error) {
	t.Helper()
	k := ptx.New("kernel", threads)
	write(k, k.Pointer("out"))
	if _, err := simgpu.Parse(k.Text()); err != nil {
		t.Fatalf("%v\n%s", err, k.Text())
	}
	var d simgpu.Device
	out := d.Alloc(resultBytes)
	l.Arguments = append([]uint64{uint64(out)}, l.Arguments...)
	if l.Grid == [3]int{} {
		l.Grid = [3]int{1, 1, 1}
	}
	stats, err := realcard.Run(t, &d, k.Text(), l)
	if err != nil {
		return nil, stats, err
	}
	data, err := d.Download(out, resultBytes)
	return data, stats, err
}

func floats(data []byte) []float32 {
	x := make([]float32, len(data)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return x
}

func TestArithmetic(t *testing.T) {
	data, _, err := run(t, 32, simgpu.Launch{}, 32*4*20, func(k *ptx.Kernel, out ptx.Addr) {
		i := k.Thread()
		x := i.Float().Plus(1.0)
		values := []ptx.Float{
			i.Plus(3).Float(), i.Times(5).Float(), i.Times(8).Float(), i.Over(3).Float(), i.Over(4).Float(), i.Mod(3).Float(), i.Mod(4).Float(),
			i.TimesPlus(2, i).Float(), i.Min(7).Float(), i.Xor(5).Float(), i.And(6).Float(), i.Or(9).Float(),
			x.Minus(2.0), x.Times(x), x.TimesPlus(x, -1.0), x.Over(3.0), x.Root(), x.Minus(5.0).Magnitude().Max(2.0),
			i.Minus(4).Less(8).ChooseFloat(1.0, 0.0), i.Equal(3).Choose(7, i).Float(),
		}
		for j, v := range values {
			k.StoreFloats(out.Index(i, 4*len(values)), 4*j, v)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 {
		x, row := float64(i)+1, floats(data)[20*i:][:20]
		inside, three := 0.0, float64(i)
		if i >= 4 && i < 12 {
			inside = 1
		}
		if i == 3 {
			three = 7
		}
		want := []float64{
			x + 2, float64(5 * i), float64(8 * i), float64(i / 3), float64(i / 4), float64(i % 3), float64(i % 4), float64(3 * i), float64(min(i, 7)),
			float64(i ^ 5), float64(i & 6), float64(i | 9), x - 2, x * x, x*x - 1, x / 3, math.Sqrt(x), max(math.Abs(x-5), 2), inside, three,
		}
		for j := range want {
			if row[j] != float32(want[j]) {
				t.Errorf("lane %d, value %d: have %g, want %g", i, j, row[j], want[j])
			}
		}
	}
}

// TestFMA rounds once: what float64 would round twice comes out right.
func TestFMA(t *testing.T) {
	a, c := float64(1+0x1p-23), -float64(float32((1+0x1p-23)*(1+0x1p-23)))
	data, _, err := run(t, 32, simgpu.Launch{}, 128, func(k *ptx.Kernel, out ptx.Addr) {
		x := k.Float(a)
		k.StoreFloats(out.Index(k.Thread(), 4), 0, x.TimesPlus(x, c))
	})
	if err != nil || floats(data)[0] != 0x1p-46 {
		t.Errorf("have %g, %v, want 2⁻⁴⁶", floats(data), err)
	}
}

// TestApproximations stay within their bounds, and differ with the seed.
func TestApproximations(t *testing.T) {
	var results [2][]float32
	for seed := range results {
		data, _, err := run(t, 32, simgpu.Launch{Off: uint32(seed + 1)}, 256, func(k *ptx.Kernel, out ptx.Addr) {
			x := k.Thread().Float().Plus(0.5)
			k.StoreFloats(out.Index(k.Thread(), 8), 0, x.Exp2(), x.Reciprocal())
		})
		if err != nil {
			t.Fatal(err)
		}
		results[seed] = floats(data)
	}
	differ := false
	for i := range results[0] {
		x := float64(i/2) + 0.5
		want, units := math.Exp2(x), 2.0
		if i%2 == 1 {
			want, units = 1/x, 1
		}
		for _, r := range results {
			if d := math.Abs(float64(r[i]) - want); d > (units+0.5)*want*0x1p-23 {
				t.Errorf("value %d is %g, want %g", i, r[i], want)
			}
		}
		differ = differ || results[0][i] != results[1][i]
	}
	if !differ {
		t.Error("the seeds give the same results")
	}
}

// TestControl sends lanes different ways and brings them together again, as the shuffle at the end needs.
func TestControl(t *testing.T) {
	data, _, err := run(t, 32, simgpu.Launch{}, 128, func(k *ptx.Kernel, out ptx.Addr) {
		i, sum := k.Thread(), k.Float(0.0)
		k.For(0, i, 1, func(j ptx.Int) {
			k.If(j.Mod(2).Equal(1), func() { sum.Add(j.Float()) })
		})
		n := k.Int(3)
		k.Repeat(func() ptx.Pred {
			sum.Add(100.0)
			n.Advance(-1)
			return n.Positive()
		})
		k.StoreFloats(out.Index(i, 4), 0, sum.Exchanged(1))
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, have := range floats(data) {
		want := float32(300)
		for j := 1; j < i^1; j += 2 {
			want += float32(j)
		}
		if have != want {
			t.Errorf("lane %d: have %g, want %g", i, have, want)
		}
	}
}

// TestFaults plants one bug each and asks for what is said about it.
func TestFaults(t *testing.T) {
	zero := func(k *ptx.Kernel) ptx.Float { return k.Float(0.0) }
	tests := map[string]struct {
		threads int
		launch  simgpu.Launch
		write   func(k *ptx.Kernel, out ptx.Addr)
		want    string
	}{
		"outside": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.StoreFloats(out.Index(k.Thread().Plus(1), 4), 0, zero(k)) },
			"4 bytes at 0x10000000000080 are outside every allocation"},
		"not aligned": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.StoreFloats(out, 4, zero(k), zero(k)) }, "are not aligned"},
		"never written": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.LoadFloats(out, 0, 1) },
			"byte 0 of the allocation was never written"},
		"register": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) {
			v := k.Word()
			k.If(k.Thread().Less(5), func() { v.Set(1) })
			v.Plus(1)
		}, "lane 5 reads a register that was never written"},
		"shared, never written": {32, simgpu.Launch{Shared: 128}, func(k *ptx.Kernel, out ptx.Addr) { k.LoadShared(k.Shared(), 0) },
			"shared byte 0 was never written"},
		"shared, too little": {32, simgpu.Launch{Shared: 64}, func(k *ptx.Kernel, out ptx.Addr) { k.StoreShared(k.Shared(), 64, zero(k)) },
			"shared byte 64 is beyond the 64 that the launch has"},
		"no barrier": {64, simgpu.Launch{Shared: 256}, func(k *ptx.Kernel, out ptx.Addr) {
			s := k.Shared()
			k.StoreShared(s.Plus(k.Thread().Times(4)), 0, zero(k))
			k.LoadShared(s.Plus(k.Thread().Xor(32).Times(4)), 0)
		}, " since the last barrier|was never written"},
		"no barrier before the next write": {64, simgpu.Launch{Shared: 256}, func(k *ptx.Kernel, out ptx.Addr) {
			s := k.Shared()
			mine := s.Plus(k.Thread().Times(4))
			k.StoreShared(mine, 0, zero(k))
			k.Barrier()
			k.LoadShared(s.Plus(k.Thread().Xor(32).Times(4)), 0)
			k.StoreShared(mine, 0, zero(k))
		}, " since the last barrier"},
		"a barrier that some pass": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.If(k.Thread().Less(16), func() { k.Barrier() }) },
			"the barrier is reached by 16 of 32 lanes"},
		"a barrier that a warp does not reach": {64, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.If(k.Thread().Less(32), func() { k.Barrier() }) },
			"warps wait here for some that have ended"},
		"a shuffle of some": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.If(k.Thread().Less(16), func() { zero(k).Exchanged(1) }) },
			"only 16 of 32 lanes take part"},
		"blocks that write the same": {32, simgpu.Launch{Grid: [3]int{2, 1, 1}}, func(k *ptx.Kernel, out ptx.Addr) { k.StoreFloats(out.Index(k.Thread(), 4), 0, zero(k)) },
			"in the same launch"},
		"no end": {32, simgpu.Launch{Limit: 1000}, func(k *ptx.Kernel, out ptx.Addr) {
			k.Repeat(func() ptx.Pred { return k.Thread().Less(99) })
		}, "does not end within 1000 instructions"},
		"division": {32, simgpu.Launch{}, func(k *ptx.Kernel, out ptx.Addr) { k.Thread().Over(k.Thread()) }, "lane 0 divides by zero"},
		"not awaited": {32, simgpu.Launch{Shared: 512}, func(k *ptx.Kernel, out ptx.Addr) {
			copyZeros(k, out)
			k.Commit()
			k.LoadShared(k.Shared(), 0)
			k.Await(0)
		}, "shared byte 0 is still being copied to by warp 0"},
		"awaited too late": {32, simgpu.Launch{Shared: 512}, func(k *ptx.Kernel, out ptx.Addr) {
			copyZeros(k, out)
			k.Commit()
			k.Await(1)
			k.LoadShared(k.Shared(), 0)
		}, "is still being copied to"},
		"copies under way at the end": {32, simgpu.Launch{Shared: 512}, func(k *ptx.Kernel, out ptx.Addr) { copyZeros(k, out) }, "the warp ends while copies are under way"},
		"awaited, without a barrier": {64, simgpu.Launch{Shared: 1024}, func(k *ptx.Kernel, out ptx.Addr) {
			copyZeros(k, out)
			k.Commit()
			k.Await(0)
			k.LoadShared(k.Shared().Plus(k.Thread().Xor(32).Times(16)), 0)
		}, " since the last barrier|was never written|still being copied"},
		"a matrix instruction of some": {32, simgpu.Launch{Shared: 512}, func(k *ptx.Kernel, out ptx.Addr) {
			k.If(k.Thread().Less(8), func() { k.LoadMatrices(k.Shared(), 0) })
		}, "only 8 of 32 lanes take part"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for seed := range uint32(3) {
				test.launch.Seed = seed
				_, _, err := run(t, test.threads, test.launch, 128, test.write)
				fault, ok := errors.AsType[*simgpu.Fault](err)
				if !ok || !containsAny(fault.What, test.want) || fault.Line == 0 || fault.Text == "" {
					t.Errorf("seed %d: have %v, want %q", seed, err, test.want)
				}
			}
		})
	}
}

func containsAny(text, wants string) bool {
	for want := range strings.SplitSeq(wants, "|") {
		if strings.Contains(text, want) {
			return true
		}
	}
	return false
}

// copyZeros begins to copy 16 bytes of zeros for each thread.
func copyZeros(k *ptx.Kernel, out ptx.Addr) {
	k.CopyAsync(k.Shared().Plus(k.Thread().Times(16)), out, k.Int(0))
}

// TestRefusals are texts that are not understood.
func TestRefusals(t *testing.T) {
	k := ptx.New("kernel", 32)
	k.Thread().Plus(1)
	text := k.Text()
	for from, to := range map[string]string{
		"add.s32": "add.cc.s32", ".version 7.0": ".version 7.1", "%r0, 1": "%d0, 1", "ret;": "bra L7;", ".maxntid 32": ".maxntid 33", "%r1, %r0": "5, %r0",
	} {
		if _, err := simgpu.Parse(strings.Replace(text, from, to, 1)); err == nil {
			t.Errorf("%s in place of %s is understood", to, from)
		}
	}
	kernel, err := simgpu.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var d simgpu.Device
	for _, l := range []simgpu.Launch{{}, {Grid: [3]int{1, 65536, 1}}, {Grid: [3]int{1, 1, 1}, Arguments: []uint64{1}}} {
		if _, err := d.Run(kernel, l); err == nil {
			t.Errorf("launch %+v is taken", l)
		}
	}
}

// TestConflicts counts accesses that wait for each other: a column of a matrix of 32 words a row lies in one bank.
func TestConflicts(t *testing.T) {
	for pitch, want := range map[int]int{32: 31, 33: 0, 2: 1} {
		_, stats, err := run(t, 32, simgpu.Launch{Shared: 4 * 33 * 32}, 128, func(k *ptx.Kernel, out ptx.Addr) {
			k.StoreShared(k.Shared().Plus(k.Thread().Times(4*pitch)), 0, k.Float(0.0))
			k.StoreFloats(out.Index(k.Thread(), 4), 0, k.Float(0.0))
		})
		if err != nil || stats.Conflicts != want || stats.Sectors != 4 || stats.FullSectors != 4 {
			t.Errorf("pitch %d: %+v, %v, want %d conflicts and 4 sectors", pitch, stats, err, want)
		}
	}
}

// product multiplies a[16][16] with the transpose of b[8][16] and adds c, through shared memory and the tensor core.
func product(t *testing.T, chip *simgpu.Chip, a, b []uint16, c float32) []float32 {
	t.Helper()
	k := ptx.New("product", 32)
	from, out, start := k.Pointer("from"), k.Pointer("out"), k.Number("start")
	lane, shared := k.Thread(), k.Shared()
	for i := range 2 { // 24 rows of 32 bytes are 48 chunks
		chunk := lane.Plus(32 * i)
		k.If(chunk.Less(48), func() { k.CopyAsync(shared.Plus(chunk.Times(16)), from.Index(chunk, 16), k.Int(16)) })
	}
	k.Commit()
	k.Await(0)
	k.Barrier()
	left := k.LoadMatrices(shared.Plus(lane.Mod(16).Times(32)).Plus(lane.Over(16).Times(16)), 0)
	right := k.LoadMatrices(shared.Plus(lane.Mod(8).Times(32)).Plus(lane.Over(8).Mod(2).Times(16)), 16*32)
	sum := [4]ptx.Float{k.Float(start), k.Float(start), k.Float(start), k.Float(start)}
	k.MultiplyAdd(sum, left, [2]ptx.Int{right[0], right[1]})
	at := out.Index(lane.Over(4).Times(4).Plus(lane.Mod(4)), 8)
	k.StoreFloats(at, 0, sum[0], sum[1])
	k.StoreFloats(at, 8*8*4, sum[2], sum[3])
	var d simgpu.Device
	var data []byte
	for _, h := range append(append([]uint16(nil), a...), b...) {
		data = binary.LittleEndian.AppendUint16(data, h)
	}
	result := d.Alloc(16 * 8 * 4)
	arguments := []uint64{uint64(d.Upload(data)), uint64(result), uint64(math.Float32bits(c))}
	if _, err := realcard.Run(t, &d, k.Text(), simgpu.Launch{Grid: [3]int{1, 1, 1}, Shared: 24 * 32, Arguments: arguments, Chip: chip}); err != nil {
		t.Fatal(err)
	}
	back, err := d.Download(result, 16*8*4)
	if err != nil {
		t.Fatal(err)
	}
	return floats(back)
}

func TestProduct(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]uint16, 24*16)
	for i := range x {
		x[i] = f16.FromF32(float32(r.NormFloat64()))
	}
	for name, chip := range map[string]*simgpu.Chip{"float32": nil, "Ampere": &simgpu.Ampere, "Hopper": &simgpu.Hopper} {
		for i, have := range product(t, chip, x[:256], x[256:], 0.5) {
			want := 0.5
			for k := range 16 {
				want += float64(f16.ToF32(x[i/8*16+k])) * float64(f16.ToF32(x[256+i%8*16+k]))
			}
			if math.Abs(float64(have)-want) > 1e-5 {
				t.Fatalf("%s: element %d is %g, want %g", name, i, have, want)
			}
		}
	}
}

// TestChips is what tells the tensor cores' sums from others: 1 + 3·2⁻²⁵ is cut to 1, not rounded to 1 + 2⁻²³, and what lies below
// the last bit of the alignment is lost, which is one bit further down on later chips.
func TestChips(t *testing.T) {
	a, b := make([]uint16, 256), make([]uint16, 128)
	set := func(values ...float32) {
		for k, v := range values {
			a[k], b[k] = f16.FromF32(v), f16.FromF32(float32(math.Copysign(0x1p-12, float64(v))))
		}
	}
	set(3 * 0x1p-13)
	for chip, want := range map[*simgpu.Chip]float32{nil: 1 + 0x1p-23, &simgpu.Ampere: 1, &simgpu.Hopper: 1} {
		if have := product(t, chip, a, b, 1)[0]; have != want {
			t.Errorf("%v: 1 + 3·2⁻²⁵ is %b, want %b", chip, have, want)
		}
	}
	set(0x1p-13, 0x1p-13, 0x1p-13, 0x1p-13) // four times 2⁻²⁵
	for chip, want := range map[*simgpu.Chip]float32{&simgpu.Ampere: 1, &simgpu.Hopper: 1 + 0x1p-23} {
		if have := product(t, chip, a, b, 1)[0]; have != want {
			t.Errorf("%v: 1 + 4·2⁻²⁵ is %b, want %b", chip, have, want)
		}
	}
}
