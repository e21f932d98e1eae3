package nn

import "github.com/atelier-go/atelier/compute"

// Claimer learns which parameters a network uses, so that a checkpoint can report what is missing, left over or of
// the wrong shape. A weights.Component is one.
type Claimer interface {
	// Claim announces a parameter by its full diffusers name.
	Claim(name string, shape ...int)
}

// Scope is a place in the tree of a network's modules, where layers claim their parameters.
type Scope struct {
	claimer Claimer
	path    string // the module's, from the root
	name    string // the module's, from the one around it
}

// Root is the top of a network's modules. With a nil Claimer nobody checks the parameters.
func Root(c Claimer) Scope { return Scope{claimer: c} }

// Sub is the module called name below s; a name with dots goes down several levels.
func (s Scope) Sub(name string) Scope {
	path := name
	if s.path != "" {
		path = s.path + "." + name
	}
	return Scope{s.claimer, path, name}
}

// Enter opens the module's scope in b until the returned function is called. The caller has entered the modules
// around it.
func (s Scope) Enter(b *compute.Builder) (leave func()) { return b.Scope(s.name) }

// Param claims a parameter of the module.
func (s Scope) Param(name string, shape ...int) Param {
	p := Param{s.Sub(name).path, shape}
	if s.claimer != nil {
		s.claimer.Claim(p.Name, shape...)
	}
	return p
}

// Param is a parameter by its full name. The zero Param stands for none.
type Param struct {
	Name  string
	Shape compute.Shape
}

// Value records the use of the parameter; the zero Param gives the zero Value.
func (p Param) Value(b *compute.Builder) compute.Value {
	if p.Name == "" {
		return compute.Value{}
	}
	return b.Param(p.Name, p.Shape...)
}
