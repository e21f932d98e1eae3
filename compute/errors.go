package compute

import (
	"errors"
	"fmt"
)

// ErrUnsupported is wrapped by Compile when a device lacks an op, an attribute or an element type.
var ErrUnsupported = errors.New("not supported by this device")

// ShapeError tells which recorded op did not accept its operands.
type ShapeError struct {
	Path   string // scope path, as in "down_blocks.1.attentions.0.to_q"
	Op     string // "Conv2D"
	Detail string // what was found and what was wanted
}

// Error implements error.
func (e *ShapeError) Error() string {
	return fmt.Sprintf("compute: %s: %s: %s", e.Path, e.Op, e.Detail)
}

// OpName is the name of an op's type: "Conv2D".
func OpName(op Op) string {
	name := fmt.Sprintf("%T", op)
	return name[len("compute."):]
}
