// Package tfevents writes scalars as TensorBoard reads them: a file of records, each an Event message of TensorFlow's
// event.proto in protocol buffers' wire format. It writes those few fields itself; the generated code of all of
// TensorFlow's messages would be a hundred times its size.
package tfevents

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Scalar is a number that a chart shows.
type Scalar struct {
	Tag   string // the chart's name; what is before a slash groups charts
	Value float64
}

// Writer appends to an event file. It is used by one goroutine and closed after use.
type Writer struct {
	file   *os.File
	record []byte // reused
}

// Create makes an event file in a folder, which is made if need be, and begins it with the format's version. The name
// tells the time and the process, so that runs in one folder do not meet.
func Create(folder string, now time.Time) (*Writer, error) {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return nil, fmt.Errorf("tfevents: %w", err)
	}
	name := fmt.Sprintf("events.out.tfevents.%d.%d", now.Unix(), os.Getpid())
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("tfevents: %w", err)
	}
	w := &Writer{file: file}
	if err := w.write(text(event(nil, now), 3, "brain.Event:2")); err != nil {
		return nil, fmt.Errorf("tfevents: %w", w.abandon(err))
	}
	return w, nil
}

func (w *Writer) abandon(err error) error {
	w.file.Close()
	return err
}

// Path is the file's.
func (w *Writer) Path() string { return w.file.Name() }

// Write appends scalars that belong to a step and a time. They are in the file when it returns.
func (w *Writer) Write(now time.Time, step int, scalars ...Scalar) error {
	var summary []byte
	for _, s := range scalars {
		value := text(nil, 1, s.Tag)
		value = append(value, key(2, fixed32))
		value = binary.LittleEndian.AppendUint32(value, math.Float32bits(float32(s.Value)))
		summary = bytes(summary, 1, value)
	}
	e := append(event(nil, now), key(2, varint))
	e = binary.AppendUvarint(e, uint64(step))
	if err := w.write(bytes(e, 5, summary)); err != nil {
		return fmt.Errorf("tfevents: %w", err)
	}
	return nil
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

// write frames a message: its length, a checksum of that, the message, a checksum of it.
func (w *Writer) write(message []byte) error {
	r := binary.LittleEndian.AppendUint64(w.record[:0], uint64(len(message)))
	r = binary.LittleEndian.AppendUint32(r, checksum(r))
	r = append(r, message...)
	r = binary.LittleEndian.AppendUint32(r, checksum(message))
	w.record = r
	_, err := w.file.Write(r)
	return err
}

// checksum is CRC-32C, turned and shifted so that a checksum of data with checksums in it is no surprise.
func checksum(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The wire types of protocol buffers that events use.
const (
	varint  = 0
	fixed64 = 1
	length  = 2
	fixed32 = 5
)

// key begins a field.
func key(field, wireType byte) byte { return field<<3 | wireType }

// event begins a message with its time, field 1.
func event(to []byte, now time.Time) []byte {
	seconds := float64(now.Unix()) + float64(now.Nanosecond())/1e9
	return binary.LittleEndian.AppendUint64(append(to, key(1, fixed64)), math.Float64bits(seconds))
}

func text(to []byte, field byte, s string) []byte { return bytes(to, field, []byte(s)) }

func bytes(to []byte, field byte, b []byte) []byte {
	to = binary.AppendUvarint(append(to, key(field, length)), uint64(len(b)))
	return slices.Concat(to, b)
}
