package cuda

import (
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// lowered is a program for which kernels have been chosen. Everything it needs is known before a parameter is read.
type lowered struct {
	program *compute.Program // with the types that values are kept as
	work    []kernel.Work    // by node
	layout  *compute.Layout
	forms   []form // of parameters
	own     int64  // bytes of tables and reports
}

// lower chooses kernels for every op and lays out the arena. It is called where the driver may be; may it take time and memory, ways of computing
// that this card has not met are timed.
func (d *Device) lower(program *compute.Program, source compute.ParamSource, mayTime bool) (*lowered, error) {
	for _, v := range program.Inputs {
		if t := program.Type(v); t.DType != compute.F32 && t.DType != compute.I32 {
			return nil, fmt.Errorf("cuda: input %q is %v: %w", program.Values[v.Index()].Name, t, compute.ErrUnsupported)
		}
	}
	for _, v := range program.Params {
		if _, err := paramType(source, program.Values[v.Index()]); err != nil {
			return nil, err
		}
	}
	l := &lowered{program: d.kernels.Store(program)}
	for i, n := range program.Nodes {
		work, err := d.choose(l.program, i, mayTime)
		if err != nil {
			return nil, fmt.Errorf("cuda: %s: %w", n.Path, err)
		}
		l.work = append(l.work, work)
		l.collect(work)
	}
	l.layout = compute.Plan(l.program, func(i int) int { return l.work[i].Scratch })
	return l, nil
}

// collect notes what launches read beside values.
func (l *lowered) collect(work kernel.Work) {
	for _, launch := range work.Launches {
		for _, a := range launch.Arguments {
			switch a := a.(type) {
			case kernel.Array:
				if info := l.program.Values[a.Value.Index()]; info.Kind == compute.ParamKind {
					l.forms = append(l.forms, form{info.Name, a.Type, a.Order})
				}
			case kernel.Table:
				l.own += align(4 * int64(len(a)))
			case *kernel.Report:
				l.own += align(kernel.ReportBytes)
			}
		}
	}
}

// Estimate implements compute.Estimator.
func (d *Device) Estimate(source compute.ParamSource, programs ...*compute.Program) (compute.MemoryReport, error) {
	var total compute.MemoryReport
	var forms []form
	err := d.do(func() error {
		for _, program := range programs {
			l, err := d.lower(program, source, false)
			if err != nil {
				return err
			}
			forms = append(forms, l.forms...)
			total.Arena = max(total.Arena, int64(l.layout.Size))
			total.Worker += l.own
		}
		return nil
	})
	if err != nil {
		return total, err
	}
	nothing := params{source: source}
	_, total.Params, err = nothing.missing(forms)
	return total, err
}

// Compile implements compute.Device.
func (d *Device) Compile(program *compute.Program, loaded compute.Params) (compute.Executable, error) {
	if program == nil {
		return nil, errors.New("cuda: Compile of a nil program")
	}
	p, ok := loaded.(*params)
	if !ok || p.device != d {
		return nil, fmt.Errorf("cuda: parameters are a %T of another device", loaded)
	}
	var e *executable
	err := d.do(func() (err error) {
		e, err = d.compile(program, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (d *Device) compile(program *compute.Program, p *params) (*executable, error) {
	if p.stored == nil {
		return nil, errParamsClosed
	}
	l, err := d.lower(program, p.source, true)
	if err != nil {
		return nil, err
	}
	d.tuner.keep(d.cache)
	fresh, bytes, err := p.missing(l.forms)
	if err != nil {
		return nil, err
	}
	if err := d.room(bytes + l.own + max(int64(l.layout.Size)-d.arena.size, 0)); err != nil {
		return nil, err
	}
	if err := p.load(fresh, bytes); err != nil {
		return nil, err
	}
	if err := d.reserve(int64(l.layout.Size)); err != nil {
		return nil, err
	}
	own, err := d.alloc(l.own)
	if err != nil {
		return nil, err
	}
	e := newExecutable(d, program, l, own)
	if err := e.bind(p, l); err != nil {
		return nil, errors.Join(err, e.discard(), d.free(&e.own))
	}
	return e, nil
}

// bind makes launches of the chosen kernels.
func (e *executable) bind(p *params, l *lowered) error {
	b := binder{executable: e, params: p, lowered: l, next: e.own.address}
	for i, work := range l.work {
		for _, launch := range work.Launches {
			if err := b.launch(i, launch); err != nil {
				n := e.program.Nodes[i]
				return fmt.Errorf("cuda: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
			}
		}
	}
	if err := e.move(e.device.arena.address); err != nil {
		return err
	}
	return e.device.stream.Wait()
}

// binder gives arguments their values.
type binder struct {
	*executable
	params  *params
	lowered *lowered
	next    driver.Address // of tables and reports
}

func (b *binder) launch(node int, l kernel.Launch) error {
	s := step{node: node}
	values := make([]uint64, len(l.Arguments))
	for i, a := range l.Arguments {
		value, offset, err := b.argument(node, a)
		if err != nil {
			return err
		}
		if values[i] = value; offset >= 0 {
			s.moving = append(s.moving, moving{i, uint64(offset)})
		}
	}
	var err error
	if s.launch, err = b.device.launch(l, values); err == nil {
		b.steps = append(b.steps, s)
	}
	return err
}

// constant is the value of an argument that is no address.
func constant(a any) (value uint64, ok bool) {
	switch a := a.(type) {
	case nil: // a library's call has no such array
		return 0, true
	case int:
		return uint64(uint32(a)), true
	case float32:
		return uint64(math.Float32bits(a)), true
	}
	return 0, false
}

// argument is the value of an argument, or where in the arena it points.
func (b *binder) argument(node int, a any) (value uint64, offset int, err error) {
	if value, ok := constant(a); ok {
		return value, -1, nil
	}
	switch a := a.(type) {
	case kernel.Scratch:
		return 0, b.lowered.layout.Scratch(node) + int(a), nil
	case kernel.Table:
		at := b.take(4 * int64(len(a)))
		return uint64(at), -1, b.device.stream.Upload(at, bytesOf(compute.Floats(a)))
	case *kernel.Report:
		at := b.take(kernel.ReportBytes)
		b.reports = append(b.reports, report{node, a, at})
		return uint64(at), -1, nil
	case kernel.Array:
		if info := b.program.Values[a.Value.Index()]; info.Kind == compute.ParamKind {
			return uint64(b.params.stored[form{info.Name, a.Type, a.Order}]) + uint64(a.Offset), -1, nil
		}
		return 0, b.lowered.layout.Offset(a.Value) + a.Offset, nil
	}
	return 0, -1, fmt.Errorf("an argument of type %T", a)
}

// take is room for a table or a report.
func (b *binder) take(bytes int64) driver.Address {
	at := b.next
	b.next += driver.Address(align(bytes))
	return at
}
