package ptx

// Double is a register with a float64, of which most cards do few at a time.
type Double struct {
	k    *Kernel
	name string
}

// Double is the number in a fresh register, exactly.
func (a Float) Double() Double { return Double{a.k, a.k.to(f64, "cvt.f64.f32", a.name)} }

// Float is the nearest float32.
func (a Double) Float() Float { return Float{a.k, a.k.to(f32, "cvt.rn.f32.f64", a.name)} }

func (a Double) binary(mnemonic string, b Double) Double {
	return Double{a.k, a.k.to(f64, mnemonic, a.name, b.name)}
}

// Plus is a + b.
func (a Double) Plus(b Double) Double { return a.binary("add.rn.f64", b) }

// Minus is a - b.
func (a Double) Minus(b Double) Double { return a.binary("sub.rn.f64", b) }

// Times is a·b.
func (a Double) Times(b Double) Double { return a.binary("mul.rn.f64", b) }

// Over is a / b.
func (a Double) Over(b Double) Double { return a.binary("div.rn.f64", b) }

// Root is the square root.
func (a Double) Root() Double { return Double{a.k, a.k.to(f64, "sqrt.rn.f64", a.name)} }

// Add adds b to the register.
func (a Double) Add(b Double) { a.k.op("add.rn.f64", a.name, a.name, b.name) }
