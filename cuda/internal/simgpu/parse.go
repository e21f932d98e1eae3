package simgpu

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kernel is one that can be launched.
type Kernel struct {
	Name      string
	Threads   int // of a block
	params    []parameter
	code      []instruction
	registers registers
	shared    bool // it declares dynamic shared memory
}

// parameter is one of a kernel's, with its place among the bytes of all.
type parameter struct {
	size, offset int
}

// Parameters are the bytes of each parameter: 4 or 8.
func (k *Kernel) Parameters() (sizes []int) {
	for _, p := range k.params {
		sizes = append(sizes, p.size)
	}
	return sizes
}

// statement is an instruction as written.
type statement struct {
	line     int
	text     string
	guard    string // "%p1" or "!%p1"
	mnemonic string
	operands []string
}

var (
	entry     = regexp.MustCompile(`^\.visible \.entry (\w+)\($`)
	paramLine = regexp.MustCompile(`^\.param \.(u64|u32|f32) (\w+),?$`)
	threads   = regexp.MustCompile(`^\.maxntid (\d+), 1, 1$`)
	minBlocks = regexp.MustCompile(`^\.minnctapersm \d+$`)
	declared  = regexp.MustCompile(`^\.reg \.(b16|b32|b64|f32|f64|pred) (%[a-z]+)<(\d+)>;$`)
	label     = regexp.MustCompile(`^(\w+):$`)
	operation = regexp.MustCompile(`^(?:@(!?%\w+) )?([a-z][\w.]*)(?: (.*))?;$`)
)

// parser reads a module line by line.
type parser struct {
	kernel     *Kernel
	names      map[string]parameter
	labels     map[string]int
	statements []statement
	size       int // of the parameters so far
}

// Parse reads a module with one kernel.
func Parse(text string) (*Kernel, error) {
	p := parser{kernel: &Kernel{registers: newRegisters()}, names: make(map[string]parameter), labels: make(map[string]int)}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "//")
		if err := p.line(number, strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("simgpu: line %d: %s: %w", number, strings.TrimSpace(line), err)
		}
	}
	return p.finish()
}

// line reads one line.
func (p *parser) line(number int, line string) error {
	k := p.kernel
	switch line {
	case "", ".version 7.0", ".target sm_80", ".address_size 64", ")", "{", "}":
		return nil
	case ".extern .shared .align 128 .b8 smem[];":
		k.shared = true
		return nil
	}
	if m := entry.FindStringSubmatch(line); m != nil {
		k.Name = m[1]
	} else if m := paramLine.FindStringSubmatch(line); m != nil {
		p.param(m[1], m[2])
	} else if m := threads.FindStringSubmatch(line); m != nil {
		k.Threads, _ = strconv.Atoi(m[1])
	} else if m := declared.FindStringSubmatch(line); m != nil {
		n, _ := strconv.Atoi(m[3])
		k.registers.declare(m[1], m[2], n)
	} else if m := label.FindStringSubmatch(line); m != nil {
		p.labels[m[1]] = len(p.statements)
	} else if m := operation.FindStringSubmatch(line); m != nil {
		p.statements = append(p.statements, statement{number, line, m[1], m[2], split(m[3])})
	} else if !minBlocks.MatchString(line) {
		return fmt.Errorf("this is not understood")
	}
	return nil
}

func (p *parser) param(dtype, name string) {
	size := 4
	if dtype == "u64" {
		size = 8
	}
	p.size = (p.size + size - 1) / size * size
	p.names[name] = parameter{size, p.size}
	p.kernel.params = append(p.kernel.params, p.names[name])
	p.size += size
}

// finish decodes what was read.
func (p *parser) finish() (*Kernel, error) {
	k := p.kernel
	if k.Name == "" || k.Threads == 0 || k.Threads%32 != 0 || k.Threads > 1024 {
		return nil, fmt.Errorf("simgpu: kernel %q has %d threads, want a multiple of 32 up to 1024", k.Name, k.Threads)
	}
	for _, s := range p.statements {
		in, err := p.decode(s)
		if err != nil {
			return nil, fmt.Errorf("simgpu: %s: line %d: %s: %w", k.Name, s.line, s.text, err)
		}
		k.code = append(k.code, in)
	}
	return k, nil
}

// split cuts operands at the commas that are in no braces.
func split(text string) (operands []string) {
	depth, start := 0, 0
	for i, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == ',' && depth == 0:
			operands = append(operands, strings.TrimSpace(text[start:i]))
			start = i + 1
		}
	}
	if last := strings.TrimSpace(text[start:]); last != "" {
		operands = append(operands, last)
	}
	return operands
}

// registers give every register, and every constant, its place in a warp. Those of 16 bits live in 32.
type registers struct {
	words, longs, preds int
	place               map[string]int
	kind                map[string]string
	constants           map[int]uint32 // by place among the words
	specials            map[int]string
}

func newRegisters() registers {
	return registers{place: make(map[string]int), kind: make(map[string]string), constants: make(map[int]uint32), specials: make(map[int]string)}
}

func (r *registers) declare(kind, prefix string, n int) {
	next := r.next(kind)
	for i := range n {
		name := fmt.Sprint(prefix, i)
		r.place[name], r.kind[name] = *next, kind
		*next++
	}
}

func (r *registers) next(kind string) *int {
	switch kind {
	case "b64", "f64":
		return &r.longs
	case "pred":
		return &r.preds
	}
	return &r.words
}

// constant is the place of one that holds a value in every lane.
func (r *registers) constant(value uint32) int {
	at, ok := r.place[fmt.Sprint("constant ", value)]
	if !ok {
		at = r.words
		r.place[fmt.Sprint("constant ", value)], r.constants[at] = at, value
		r.words++
	}
	return at
}

// special is the place of one that tells a lane where it is.
func (r *registers) special(name string) int {
	at, ok := r.place[name]
	if !ok {
		at = r.words
		r.place[name], r.specials[at] = at, name
		r.words++
	}
	return at
}
