package simgpu

import (
	"fmt"
	"strconv"
	"strings"
)

// step is what an instruction does for the lanes of a warp that take part.
type step func(w *warp, lanes uint32)

// instruction is one that is decoded.
type instruction struct {
	statement
	flow   flow
	do     step
	guard  int // the predicate's place, or -1
	negate bool
	target int // where a branch goes
}

// flow is what an instruction does to where its warp goes on.
type flow uint8

const (
	next flow = iota
	branch
	barrier
	exit
)

// mistake is an operand that is not what its instruction takes.
type mistake string

// decode turns a statement into an instruction, or refuses it.
func (p *parser) decode(s statement) (in instruction, err error) {
	defer func() {
		if m, ok := recover().(mistake); ok {
			err = fmt.Errorf("%s", string(m))
		}
	}()
	in = instruction{statement: s, guard: -1}
	if s.guard != "" {
		name, negated := strings.CutPrefix(s.guard, "!")
		in.guard, in.negate = p.pred(name), negated
	}
	switch s.mnemonic {
	case "ret":
		in.flow = exit
	case "bra":
		in.flow, in.target = branch, p.label(s.operands[0])
	case "bar.sync":
		in.flow = barrier
	default:
		in.do = p.step(s)
	}
	return in, nil
}

func (p *parser) label(name string) int {
	at, ok := p.labels[name]
	if !ok {
		panic(mistake("there is no label " + name))
	}
	return at
}

// step finds what a mnemonic does.
func (p *parser) step(s statement) step {
	if f, ok := unaries[s.mnemonic]; ok && !strings.HasPrefix(s.operands[0], "{") {
		return p.unary(s, f)
	}
	if f, ok := binaries[s.mnemonic]; ok {
		return p.binary(s, f)
	}
	if f, ok := ternaries[s.mnemonic]; ok {
		return p.ternary(s, f)
	}
	if f, ok := approximations[s.mnemonic]; ok {
		return p.approximate(s, f)
	}
	if f, ok := others[s.mnemonic]; ok {
		return f(p, s)
	}
	if f, ok := doubles[s.mnemonic]; ok {
		return p.double(s, f)
	}
	if relation, ok := strings.CutPrefix(s.mnemonic, "setp."); ok && relations[relation] != nil {
		return p.compare(s, relations[relation])
	}
	panic(mistake("the instruction is not known"))
}

// others are the instructions that are not arithmetic of one kind.
var others map[string]func(p *parser, s statement) step

func init() {
	others = map[string]func(p *parser, s statement) step{
		"mov.b32": (*parser).unpack, "selp.b32": (*parser).choose, "selp.f32": (*parser).choose, "selp.b64": (*parser).chooseLong,
		"and.pred": (*parser).bothPreds, "not.pred": (*parser).notPred, "add.s64": (*parser).addLong,
		"cvt.f64.f32": (*parser).widen, "cvt.rn.f32.f64": (*parser).narrow, "mad.wide.u32": (*parser).index,
		"ld.param.u64": (*parser).loadParam, "ld.param.u32": (*parser).loadParam, "ld.param.f32": (*parser).loadParam,
		"cp.async.cg.shared.global": (*parser).copyAsync, "cp.async.commit_group": (*parser).commit, "cp.async.wait_group": (*parser).await,
		"ldmatrix.sync.aligned.m8n8.x4.shared.b16": (*parser).loadMatrices, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16": (*parser).loadMatrices, "shfl.sync.bfly.b32": (*parser).shuffle, "shfl.sync.idx.b32": (*parser).shuffle,
		"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32": (*parser).multiplyAdd, "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16": (*parser).multiplyAddHalf,
		"ld.shared.f32": (*parser).loadShared, "ld.shared.v2.f32": (*parser).loadShared, "ld.shared.v4.f32": (*parser).loadShared,
		"st.shared.f32": (*parser).storeShared,
		"ld.global.b16": (*parser).loadHalf, "st.global.b16": (*parser).storeHalf,
	}
	for _, many := range []string{"", ".v2", ".v4"} {
		for _, dtype := range []string{".b32", ".f32"} {
			others["ld.global"+many+dtype], others["st.global"+many+dtype] = (*parser).loadGlobal, (*parser).storeGlobal
		}
	}
}

// word is the place of a 32-bit operand: a register, a constant, or what tells a lane where it is.
func (p *parser) word(operand string) int {
	r := &p.kernel.registers
	switch kind, ok := r.kind[operand]; {
	case ok && kind != "b64" && kind != "f64" && kind != "pred":
		return r.place[operand]
	case ok:
		panic(mistake(operand + " is a register of another kind"))
	case strings.HasPrefix(operand, "%tid.x"), strings.HasPrefix(operand, "%ctaid."), strings.HasPrefix(operand, "%nctaid."):
		return r.special(operand)
	case operand == "smem" && p.kernel.shared:
		return r.constant(0)
	}
	return r.constant(literal(operand))
}

// literal is the bits of a number.
func literal(operand string) uint32 {
	if digits, ok := strings.CutPrefix(operand, "0f"); ok && len(digits) == 8 {
		if v, err := strconv.ParseUint(digits, 16, 32); err == nil {
			return uint32(v)
		}
	}
	v, err := strconv.ParseInt(operand, 10, 64)
	if err != nil || v < -1<<31 || v >= 1<<32 {
		panic(mistake(operand + " is no operand of 32 bits"))
	}
	return uint32(v)
}

// result is the place of a register to write.
func (p *parser) result(operand string) int {
	if _, ok := p.kernel.registers.kind[operand]; !ok {
		panic(mistake(operand + " is no register"))
	}
	return p.word(operand)
}

func (p *parser) register(operand, kind string) int {
	if p.kernel.registers.kind[operand] != kind {
		panic(mistake(operand + " is no register of kind " + kind))
	}
	return p.kernel.registers.place[operand]
}

func (p *parser) pred(operand string) int { return p.register(operand, "pred") }
func (p *parser) long(operand string) int { return p.register(operand, "b64") }

// vector is the places of the registers in braces, or of a single one.
func (p *parser) vector(operand string, n int) []int {
	names := split(strings.Trim(operand, "{}"))
	if len(names) != n {
		panic(mistake(fmt.Sprintf("%s has %d registers, want %d", operand, len(names), n)))
	}
	places := make([]int, n)
	for i, name := range names {
		places[i] = p.result(name)
	}
	return places
}

// address splits [register+offset].
func address(operand string) (register string, offset int) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(operand, "["), "]")
	register, digits, more := strings.Cut(inner, "+")
	if more {
		v, err := strconv.Atoi(digits)
		ok, offset = ok && err == nil, v
	}
	if !ok || !strings.HasPrefix(operand, "[") {
		panic(mistake(operand + " is no address"))
	}
	return register, offset
}
