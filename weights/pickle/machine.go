package pickle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
)

// Limits of a pickle, without the arrays it refers to. A whole training of Stable Diffusion has some 300,000 opcodes.
const (
	maxBytes   = 32 << 20
	maxOpcodes = 4 << 20
)

// FormatError says that a file is none that PyTorch writes, or is damaged.
type FormatError struct {
	Reason string
	Offset int64 // of the opcode at fault in the pickle, -1 if none is
}

// Error says what is wrong and what to do.
func (e *FormatError) Error() string {
	where := ""
	if e.Offset >= 0 {
		where = fmt.Sprintf(" (at byte %d of its pickle)", e.Offset)
	}
	return "not a sound PyTorch file: " + e.Reason + where + "; download or copy it again, or take another copy of the model"
}

func malformed(format string, args ...any) error {
	return &FormatError{fmt.Sprintf(format, args...), -1}
}

// machine carries out the opcodes of a pickle. The stack machine of Python's pickle is described in its pickletools.py.
type machine struct {
	in    *bufio.Reader
	at    int64 // bytes read
	stack []any
	marks []int // heights of the stack
	memo  map[uint32]any
	load  func(id Tuple) (any, error) // what a persistent id stands for
	done  bool
}

// decode reads the pickle that in begins with, of n bytes; in is read beyond it.
func decode(in io.Reader, load func(id Tuple) (any, error)) (v any, n int64, err error) {
	m := &machine{in: bufio.NewReader(in), memo: make(map[uint32]any), load: load}
	for range maxOpcodes {
		at := m.at
		if err := m.step(); err != nil {
			return nil, m.at, locate(err, at)
		}
		if m.done {
			v, err := m.pop()
			return v, m.at, err
		}
	}
	return nil, m.at, malformed("its pickle has more than %d opcodes", maxOpcodes)
}

// locate adds the place to an error about the format.
func locate(err error, at int64) error {
	if e, ok := errors.AsType[*FormatError](err); ok && e.Offset < 0 {
		return &FormatError{e.Reason, at}
	}
	return err
}

func (m *machine) step() error {
	b, err := m.bytes(1)
	if err != nil {
		return err
	}
	run := opcodes[b[0]]
	if run == nil {
		return malformed("opcode 0x%02x is none of PyTorch's", b[0])
	}
	return run(m)
}

// opcodes are those of protocols 2 to 5 without the ones that PyTorch never writes.
var opcodes = [256]func(*machine) error{
	0x80: skip(1), 0x95: skip(8), // PROTO, FRAME
	'.': func(m *machine) error { m.done = true; return nil },

	'N': constant(nil), 0x88: constant(true), 0x89: constant(false),
	'K': integer(1), 'M': integer(2), 'J': integer(4), 0x8a: long(1), 0x8b: long(4), 'G': float,
	'X': text(4), 0x8c: text(1), 0x8d: text(8), 'T': text(4), 'U': text(1), // the last two as Python 2 wrote them
	'B': octets(4), 'C': octets(1), 0x8e: octets(8), 0x96: octets(8),

	'(': mark, '0': pop, '1': popMark, '2': dup,
	')': empty(func() any { return Tuple(nil) }), ']': empty(func() any { return new(List) }), '}': empty(func() any { return new(Dict) }), 0x8f: empty(func() any { return new(List) }),
	'a': add(1), 'e': add(-1), 0x90: add(-1), 's': set(2), 'u': set(-1),
	't': tuple(-1), 0x85: tuple(1), 0x86: tuple(2), 0x87: tuple(3),
	'l': list, 0x91: list, 'd': dict,

	'h': get(1), 'j': get(4), 'q': put(1), 'r': put(4), 0x94: memoize,
	'c': global, 0x93: stackGlobal,
	'R': reduce, 'i': instance, 0x81: reduce, 0x92: newObject, 'b': build, 'Q': persistent,
}

// bytes reads n bytes.
func (m *machine) bytes(n uint64) ([]byte, error) {
	if n > maxBytes || m.at+int64(n) > maxBytes {
		return nil, malformed("its pickle is longer than %d bytes", maxBytes)
	}
	var b []byte
	for uint64(len(b)) < n { // as far as the file reaches, whatever length it claims
		part := make([]byte, min(n-uint64(len(b)), 1<<16))
		if _, err := io.ReadFull(m.in, part); err != nil {
			return nil, cut(err)
		}
		b = append(b, part...)
	}
	m.at += int64(n)
	return b, nil
}

// cut says that a file ends too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("it is truncated")
	}
	return err
}

// natural reads a little-endian number of n bytes.
func (m *machine) natural(n uint64) (uint64, error) {
	b, err := m.bytes(n)
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), err
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

// pop takes the topmost value, not from below a mark.
func (m *machine) pop() (any, error) {
	top := len(m.stack) - 1
	if top < 0 || len(m.marks) > 0 && top < m.marks[len(m.marks)-1] {
		return nil, malformed("an opcode lacks its values")
	}
	v := m.stack[top]
	m.stack = m.stack[:top]
	return v, nil
}

// popN takes the n topmost values, or those above the last mark if n is negative.
func (m *machine) popN(n int) ([]any, error) {
	floor := 0
	if last := len(m.marks) - 1; last >= 0 {
		floor = m.marks[last]
	}
	from := len(m.stack) - n
	if n < 0 {
		if len(m.marks) == 0 {
			return nil, malformed("an opcode lacks its mark")
		}
		from, m.marks = floor, m.marks[:len(m.marks)-1]
	}
	if from < floor {
		return nil, malformed("an opcode lacks its values")
	}
	values := slices.Clone(m.stack[from:])
	m.stack = m.stack[:from]
	return values, nil
}

// top is the topmost value, which stays where it is.
func (m *machine) top() (any, error) {
	v, err := m.pop()
	if err != nil {
		return nil, err
	}
	return v, m.push(v)
}

func skip(n uint64) func(*machine) error {
	return func(m *machine) error {
		_, err := m.bytes(n)
		return err
	}
}

func constant(v any) func(*machine) error {
	return func(m *machine) error { return m.push(v) }
}

func empty(make func() any) func(*machine) error {
	return func(m *machine) error { return m.push(make()) }
}

// integer reads 1 or 2 bytes without a sign or 4 with one.
func integer(n uint64) func(*machine) error {
	return func(m *machine) error {
		v, err := m.natural(n)
		if err != nil {
			return err
		}
		if n == 4 {
			return m.push(int64(int32(v)))
		}
		return m.push(int64(v))
	}
}

// long reads a two's complement of as many bytes as the number before it, of n bytes, says.
func long(n uint64) func(*machine) error {
	return func(m *machine) error {
		b, err := m.counted(n)
		if err != nil {
			return err
		}
		slices.Reverse(b)
		v := new(big.Int).SetBytes(b)
		if len(b) > 0 && b[0] >= 0x80 {
			v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		if v.IsInt64() {
			return m.push(v.Int64())
		}
		return m.push(v)
	}
}

// counted reads as many bytes as the number before them, of n bytes, says.
func (m *machine) counted(n uint64) ([]byte, error) {
	size, err := m.natural(n)
	if err != nil {
		return nil, err
	}
	return m.bytes(size)
}

func float(m *machine) error {
	b, err := m.bytes(8)
	if err != nil {
		return err
	}
	return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
}

func text(n uint64) func(*machine) error {
	return func(m *machine) error {
		b, err := m.counted(n)
		if err != nil {
			return err
		}
		return m.push(string(b))
	}
}

func octets(n uint64) func(*machine) error {
	return func(m *machine) error {
		b, err := m.counted(n)
		if err != nil {
			return err
		}
		return m.push(b)
	}
}

func mark(m *machine) error {
	m.marks = append(m.marks, len(m.stack))
	return nil
}

// pop drops the topmost value, or the mark if that is topmost.
func pop(m *machine) error {
	if last := len(m.marks) - 1; last >= 0 && m.marks[last] == len(m.stack) {
		m.marks = m.marks[:last]
		return nil
	}
	_, err := m.pop()
	return err
}

func popMark(m *machine) error {
	_, err := m.popN(-1)
	return err
}

func dup(m *machine) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	return m.push(v)
}

// add appends n values, or those above the mark, to the list below them.
func add(n int) func(*machine) error {
	return func(m *machine) error {
		values, err := m.popN(n)
		if err != nil {
			return err
		}
		v, err := m.top()
		if err != nil {
			return err
		}
		switch l := v.(type) {
		case *List:
			l.Items = append(l.Items, values...)
		case *Object: // a list of a class of its own
		default:
			return malformed("items are added to a %T", v)
		}
		return nil
	}
}

// set gives the dictionary below the n topmost values, or below those above the mark, these pairs.
func set(n int) func(*machine) error {
	return func(m *machine) error {
		values, err := m.popN(n)
		if err != nil {
			return err
		}
		v, err := m.top()
		if err != nil {
			return err
		}
		switch d := v.(type) {
		case *Dict:
			return d.add(values)
		case *Object: // a dictionary of a class of its own
			return nil
		}
		return malformed("pairs are added to a %T", v)
	}
}

// add adds keys and values, which alternate.
func (d *Dict) add(pairs []any) error {
	if len(pairs)%2 != 0 {
		return malformed("a key without a value")
	}
	for i := 0; i < len(pairs); i += 2 {
		d.Keys, d.Values = append(d.Keys, pairs[i]), append(d.Values, pairs[i+1])
	}
	return nil
}

func tuple(n int) func(*machine) error {
	return func(m *machine) error {
		values, err := m.popN(n)
		if err != nil {
			return err
		}
		return m.push(Tuple(values))
	}
}

func list(m *machine) error {
	values, err := m.popN(-1)
	if err != nil {
		return err
	}
	return m.push(&List{values})
}

func dict(m *machine) error {
	values, err := m.popN(-1)
	if err != nil {
		return err
	}
	d := new(Dict)
	if err := d.add(values); err != nil {
		return err
	}
	return m.push(d)
}

func get(n uint64) func(*machine) error {
	return func(m *machine) error {
		i, err := m.natural(n)
		if err != nil {
			return err
		}
		v, ok := m.memo[uint32(i)]
		if !ok {
			return malformed("it refers to value %d, which it has not noted", i)
		}
		return m.push(v)
	}
}

func put(n uint64) func(*machine) error {
	return func(m *machine) error {
		i, err := m.natural(n)
		if err != nil {
			return err
		}
		m.memo[uint32(i)], err = m.top()
		return err
	}
}

func memoize(m *machine) (err error) {
	m.memo[uint32(len(m.memo))], err = m.top()
	return err
}

// global reads a name on two lines.
func global(m *machine) error {
	module, err := m.line()
	if err != nil {
		return err
	}
	member, err := m.line()
	if err != nil {
		return err
	}
	return m.pushName(module, member)
}

func (m *machine) pushName(module, member string) error {
	name, err := known(module, member)
	if err != nil {
		return err
	}
	return m.push(name)
}

// line reads up to the end of a line.
func (m *machine) line() (string, error) {
	const maxLine = 1 << 10
	var line []byte
	for len(line) < maxLine {
		b, err := m.bytes(1)
		if err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
	return "", malformed("a name is longer than %d bytes", maxLine)
}

func stackGlobal(m *machine) error {
	names, err := m.popN(2)
	if err != nil {
		return err
	}
	module, ok1 := names[0].(string)
	member, ok2 := names[1].(string)
	if !ok1 || !ok2 {
		return malformed("a name that is no text")
	}
	return m.pushName(module, member)
}

// reduce replaces a name and its arguments by what they make: REDUCE, NEWOBJ.
func reduce(m *machine) error {
	values, err := m.popN(2)
	if err != nil {
		return err
	}
	return m.make(values[0], values[1])
}

// instance calls a name, on two lines, with the values above the mark: INST.
func instance(m *machine) error {
	args, err := m.popN(-1)
	if err != nil {
		return err
	}
	if err := global(m); err != nil {
		return err
	}
	name, err := m.pop()
	if err != nil {
		return err
	}
	return m.make(name, Tuple(args))
}

// newObject is reduce with arguments by name, which none of the functions has: NEWOBJ_EX.
func newObject(m *machine) error {
	values, err := m.popN(3)
	if err != nil {
		return err
	}
	return m.make(values[0], values[1])
}

func (m *machine) make(callee, arguments any) error {
	name, ok1 := callee.(Name)
	args, ok2 := arguments.(Tuple)
	if !ok1 || !ok2 {
		return malformed("it calls a %T with a %T", callee, arguments)
	}
	v, err := call(name, args)
	if err != nil {
		return err
	}
	return m.push(v)
}

// build gives an object its state. Dictionaries and tensors have attributes at most, which tensors do not need.
func build(m *machine) error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	v, err := m.top()
	if o, ok := v.(*Object); ok {
		o.State = state
	}
	return err
}

func persistent(m *machine) error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	id, ok := v.(Tuple)
	if !ok {
		return malformed("a persistent id that is a %T", v)
	}
	if v, err = m.load(id); err != nil {
		return err
	}
	return m.push(v)
}
