package ptx_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// double is the example of the package's comment.
func double() *ptx.Kernel {
	k := ptx.New("double", 256)
	x, n := k.Pointer("x"), k.Uint("n")
	i := k.Block(0).Times(256).Plus(k.Thread())
	k.If(i.Less(n), func() {
		at := x.Index(i, 4)
		k.StoreFloats(at, 0, k.LoadFloats(at, 0, 1)[0].Times(2.0))
	})
	return k
}

const doubleText = `.version 7.0
.target sm_80
.address_size 64

.visible .entry double(
	.param .u64 double_x,
	.param .u32 double_n
)
.maxntid 256, 1, 1
{
	.reg .b32 %r<5>;
	.reg .b64 %d<2>;
	.reg .f32 %f<2>;
	.reg .pred %p<1>;
	ld.param.u64 %d0, [double_x];
	ld.param.u32 %r0, [double_n];
	mov.u32 %r1, %ctaid.x;
	shl.b32 %r2, %r1, 8;
	mov.u32 %r3, %tid.x;
	add.s32 %r4, %r2, %r3;
	setp.lt.u32 %p0, %r4, %r0;
	@!%p0 bra L1;
	mad.wide.u32 %d1, %r4, 4, %d0;
	ld.global.f32 %f0, [%d1];
	mul.rn.f32 %f1, %f0, 0f40000000;
	st.global.f32 [%d1], %f1;
L1:
	ret;
}
`

func TestText(t *testing.T) {
	k := double()
	if have := k.Text(); have != doubleText {
		t.Errorf("have\n%s\nwant\n%s", have, doubleText)
	}
	if k.Name() != "double" || k.Threads() != 256 {
		t.Errorf("%s with %d threads", k.Name(), k.Threads())
	}
}

func TestLimits(t *testing.T) {
	k := ptx.New("k", 128)
	k.MinBlocks(2)
	k.Shared()
	k.Comment("where it begins")
	for _, want := range []string{".maxntid 128, 1, 1\n.minnctapersm 2\n", ".extern .shared .align 128 .b8 smem[];\n", "mov.u32 %r0, smem;", "// where it begins"} {
		if !strings.Contains(k.Text(), want) {
			t.Errorf("%s\nlacks %q", k.Text(), want)
		}
	}
}

// TestStrengthReduction writes shifts and masks for powers of two, and nothing for what changes nothing.
func TestStrengthReduction(t *testing.T) {
	k := ptx.New("k", 32)
	i := k.Thread()
	if i.Plus(0) != i || i.Minus(0) != i || i.Times(1) != i || i.Over(1) != i {
		t.Error("an instruction that does nothing is written")
	}
	i.Times(8)
	i.Over(8)
	i.Mod(8)
	i.Times(6)
	for _, want := range []string{"shl.b32 %r1, %r0, 3;", "shr.u32 %r2, %r0, 3;", "and.b32 %r3, %r0, 7;", "mul.lo.u32 %r4, %r0, 6;"} {
		if !strings.Contains(k.Text(), want) {
			t.Errorf("%s\nlacks %q", k.Text(), want)
		}
	}
}

func TestMisuse(t *testing.T) {
	k := ptx.New("k", 32)
	for name, misuse := range map[string]func(){
		"a float where an int belongs":    func() { k.Thread().Plus(1.5) },
		"an int where a float belongs":    func() { k.Float(1) },
		"an Int where a Float belongs":    func() { k.Float(0.0).Plus(k.Thread()) },
		"an address where an int belongs": func() { k.Thread().Plus(k.Pointer("x")) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name, "is taken")
				}
			}()
			misuse()
		}()
	}
}
