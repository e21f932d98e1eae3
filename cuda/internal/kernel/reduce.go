package kernel

import "github.com/atelier-go/atelier/cuda/internal/ptx"

// warpSum is the sum of what the lanes of a warp hold, the same in each: all lanes must take part.
func warpSum(v ptx.Float) ptx.Float {
	for mask := 16; mask > 0; mask /= 2 {
		v = v.Plus(v.Exchanged(mask))
	}
	return v
}

// blockMoments is the mean of n numbers and their variance, the same in each thread of the block: that of differences from the mean, in
// a second pass, so that no digits cancel. It takes eight bytes a warp of shared memory, from so many bytes on.
func blockMoments(k *ptx.Kernel, n ptx.Int, offset int, number func(i ptx.Int) ptx.Float) (mean, variance ptx.Float) {
	sum, squares := k.Float(0.0), k.Float(0.0)
	k.For(k.Thread(), n, k.Threads(), func(i ptx.Int) { sum.Add(number(i)) })
	mean = blockSum(k, sum, offset).Over(n.Float())
	k.For(k.Thread(), n, k.Threads(), func(i ptx.Int) {
		d := number(i).Minus(mean)
		squares.AddProduct(d, d)
	})
	return mean, blockSum(k, squares, offset+4*k.Threads()/32).Over(n.Float())
}

// warpMax is the greatest of what the lanes of a warp hold, the same in each: all lanes must take part.
func warpMax(v ptx.Float) ptx.Float {
	for mask := 16; mask > 0; mask /= 2 {
		v = v.Max(v.Exchanged(mask))
	}
	return v
}

// blockSum is the sum of what the threads of a block hold, the same in each. It takes four bytes a warp of shared memory, from so many
// bytes on, which nobody else may use.
func blockSum(k *ptx.Kernel, v ptx.Float, offset int) ptx.Float {
	return acrossWarps(k, warpSum(v), offset, func(a, b ptx.Float) ptx.Float { return a.Plus(b) })
}

// blockMax is blockSum for the greatest.
func blockMax(k *ptx.Kernel, v ptx.Float, offset int) ptx.Float {
	return acrossWarps(k, warpMax(v), offset, func(a, b ptx.Float) ptx.Float { return a.Max(b) })
}

// acrossWarps combines what the warps of a block hold.
func acrossWarps(k *ptx.Kernel, v ptx.Float, offset int, combine func(a, b ptx.Float) ptx.Float) ptx.Float {
	shared := k.Shared()
	k.If(k.Thread().Mod(32).Equal(0), func() { k.StoreShared(shared.Plus(k.Thread().Over(32).Times(4)), offset, v) })
	k.Barrier()
	all := k.LoadShared(shared, offset)
	for warp := 1; warp < k.Threads()/32; warp++ {
		all = combine(all, k.LoadShared(shared, offset+4*warp))
	}
	return all
}
