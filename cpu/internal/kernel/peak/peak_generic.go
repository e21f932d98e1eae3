package peak

// sink keeps the compiler from dropping the loop.
var sink float32

// fmaGeneric does eight independent chains of multiply-adds, rounds times.
func fmaGeneric(rounds int) {
	var a [8]float32
	x := float32(1e-30)
	for range rounds {
		a[0] += x * x
		a[1] += x * x
		a[2] += x * x
		a[3] += x * x
		a[4] += x * x
		a[5] += x * x
		a[6] += x * x
		a[7] += x * x
	}
	if s := a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7]; s > 1 {
		sink = s
	}
}
