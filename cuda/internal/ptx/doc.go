// Package ptx writes kernels as PTX, the assembly language that NVIDIA's driver compiles for its cards: one call of a method, one
// instruction.
//
// A [Kernel] is written from top to bottom. Parameters are declared first and are registers from then on; every operation gives a
// fresh register of a type that Go checks: [Int], [Addr], [Float], [Half] and [Pred]. Where an operation takes an "any", that is an Int
// or an int, or a Float or a float64. Registers are not scarce here: the driver's assembler gives out the real ones.
//
//	k := ptx.New("double", 256)
//	x, n := k.Pointer("x"), k.Uint("n")
//	i := k.Block(0).Times(256).Plus(k.Thread())
//	k.If(i.Less(n), func() {
//		at := x.Index(i, 4)
//		k.StoreFloats(at, 0, k.LoadFloats(at, 0, 1)[0].Times(2.0))
//	})
//	text := k.Text()
//
// See NVIDIA's "Parallel Thread Execution ISA" for what each instruction does; version 7.0 for compute capability 8.0 is all that is
// written.
package ptx
