package cudnn

import (
	"errors"
	"unsafe"
)

// descriptor is one of the library's.
type descriptor struct{ handle uintptr }

// kind is a kind of descriptor, by the library's number.
type kind int32

const (
	pointwise      kind = 0
	convolution    kind = 1
	engineConfig   kind = 3
	engineChoice   kind = 4
	executionPlan  kind = 5
	opForward      kind = 10
	opInput        kind = 12
	opPointwise    kind = 13
	operationGraph kind = 15
	variantPack    kind = 16
	tensor         kind = 17
)

// attribute is a part of a descriptor, by the library's number.
type attribute int32

// value is the type of an attribute's elements, by the library's number.
type value int32

const (
	handleValue     value = 0
	dataValue       value = 1
	booleanValue    value = 2
	int64Value      value = 3
	floatValue      value = 4
	addressValue    value = 6
	modeValue       value = 7
	heuristicValue  value = 8
	pointwiseValue  value = 14
	descriptorValue value = 15
)

// graph makes descriptors, keeps the first error, and gives all of them back at its end.
type graph struct {
	*Library
	made []descriptor
	err  error
}

// make makes a descriptor; fill sets what it has to.
func (g *graph) make(k kind, fill func(d descriptor)) descriptor {
	d := g.create(k)
	if g.err == nil {
		fill(d)
	}
	if g.err == nil {
		g.err = g.call(finalize, d.handle)
	}
	return d
}

// create makes a descriptor that the library will fill.
func (g *graph) create(k kind) descriptor {
	var d descriptor
	if g.err == nil {
		g.err = g.call(createDescriptor, uintptr(k), uintptr(unsafe.Pointer(&d.handle)))
	}
	if g.err == nil {
		g.made = append(g.made, d)
	}
	return d
}

func (g *graph) close() (err error) {
	for _, d := range g.made {
		err = errors.Join(err, g.call(destroyDescriptor, d.handle))
	}
	g.made = nil
	return err
}

// set sets an attribute to elements of the type that its value stands for.
func set[T any](g *graph, d descriptor, a attribute, v value, elements ...T) {
	if g.err == nil {
		g.err = g.call(setAttribute, d.handle, uintptr(a), uintptr(v), uintptr(len(elements)), uintptr(unsafe.Pointer(unsafe.SliceData(elements))))
	}
}

// setDescriptors sets an attribute to descriptors.
func (g *graph) setDescriptors(d descriptor, a attribute, others ...descriptor) {
	handles := make([]uintptr, len(others))
	for i, other := range others {
		handles[i] = other.handle
	}
	set(g, d, a, descriptorValue, handles...)
}

// get reads an attribute into elements and tells how many there are.
func get[T any](g *graph, d descriptor, a attribute, v value, elements []T) int {
	var count int64
	if g.err == nil {
		g.err = g.call(getAttribute, d.handle, uintptr(a), uintptr(v), uintptr(len(elements)), uintptr(unsafe.Pointer(&count)), uintptr(unsafe.Pointer(unsafe.SliceData(elements))))
	}
	return int(count)
}
