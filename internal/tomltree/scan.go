package tomltree

import (
	"bytes"
	"fmt"
)

// The decoder's time and memory grow with the paths of all keys, each from its table down. These bound how many names a path
// has, where a list counts as one, and how many bytes all paths have together.
const (
	maxDepth = 16
	maxPaths = 4 << 20
)

// path is how far down a key is: the names from the root to it, and their bytes.
type path struct{ names, bytes int }

// scanner follows the paths of a document. It need not tell what is TOML: where the decoder finds none it reads no further.
type scanner struct {
	table   path   // the last heading's
	open    []path // the brackets that are open
	key     path   // what was read since the last separator
	heading bool   // and whether that is one
	paths   int    // bytes of all paths so far
}

// scan reports paths that would keep the decoder busy.
func scan(data []byte) error {
	var s scanner
	for at := 0; at < len(data); {
		n := token(data[at:])
		s.read(data[at], n)
		if s.here().names > maxDepth {
			return fmt.Errorf("TOML: line %d: keys and lists are more than %d deep in one another", 1+bytes.Count(data[:at], []byte("\n")), maxDepth)
		}
		if s.paths > maxPaths {
			return fmt.Errorf("TOML: line %d: the keys up to here have more than %d bytes, with the tables they are in", 1+bytes.Count(data[:at], []byte("\n")), maxPaths)
		}
		at += n
	}
	return nil
}

// token is the length of what data begins with: a text in quotes, a comment, or one letter of anything else.
func token(data []byte) int {
	switch data[0] {
	case '#':
		if n := bytes.IndexAny(data, "\r\n"); n > 0 {
			return n
		}
		return len(data)
	case '"', '\'':
		if triple := bytes.Repeat(data[:1], 3); bytes.HasPrefix(data, triple) {
			return quoted(data, triple, "")
		}
		return quoted(data, data[:1], "\r\n")
	}
	return 1
}

// quoted is the length of a text in quotes, with those that may stand before the closing ones; it ends before any of end.
func quoted(data, mark []byte, end string) int {
	for i := len(mark); i < len(data); i++ {
		switch {
		case data[i] == '\\' && mark[0] == '"':
			i++
		case bytes.IndexByte([]byte(end), data[i]) >= 0:
			return i
		case bytes.HasPrefix(data[i:], mark):
			for i += len(mark); len(mark) > 1 && i < len(data) && data[i] == mark[0]; {
				i++
			}
			return i
		}
	}
	return len(data)
}

// here is the path of what is read.
func (s *scanner) here() path {
	in := s.table
	if len(s.open) > 0 {
		in = s.open[len(s.open)-1]
	}
	return path{in.names + s.key.names + 1, in.bytes + s.key.bytes}
}

// read takes a token of n bytes that begins with c.
func (s *scanner) read(c byte, n int) {
	switch c {
	case '#', ' ', '\t':
	case '.':
		s.key.names++
	case '=':
		s.paths += s.here().bytes
	case '[', '{':
		if s.heading || c == '[' && len(s.open) == 0 && s.key == (path{}) {
			s.heading, s.table = true, path{}
			return
		}
		s.open, s.key = append(s.open, s.here()), path{}
	case ']', '}':
		if len(s.open) > 0 && !s.heading {
			s.open, s.key = s.open[:len(s.open)-1], path{}
		}
	case ',':
		s.key = path{}
	case '\r', '\n':
		if s.heading {
			s.table, s.heading = s.here(), false
			s.paths += s.table.bytes
		}
		s.key = path{}
	default:
		s.key.bytes += n
	}
}
