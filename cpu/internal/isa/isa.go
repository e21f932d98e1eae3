// Package isa detects what the processor can do and names the kernel set to run.
//
// Kernels are written in sets: within one set the tile sizes, the weight packing and the machine code
// belong together, so a set is chosen as a whole, once, when a device opens. Sets are ordered; a
// processor that runs one also runs every lower one. The package holds no kernels and keeps no
// mutable state.
//
// Two environment variables are read. ATELIER_CPU=generic|avx2|avx512|avx512bf16 lowers the choice,
// for tests and bug reports; it never raises it. ATELIER_REQUIRE_ISA=avx2,avx512,… makes tests that
// would skip for want of a named set fail instead.
package isa

import (
	"fmt"
	"os"
	"strings"
)

// Set is a kernel set. Compare with >=: a higher set contains the lower ones.
type Set uint8

// The kernel sets, lowest first.
const (
	Generic    Set = iota // portable Go, any architecture
	AVX2                  // x86-64 with AVX2, FMA and F16C
	AVX512                // AVX512 F, BW, DQ and VL on top of AVX2
	AVX512BF16            // VDPBF16PS and VPDPWSSD on top of AVX512
)

// The environment variables that lower the choice and that forbid skipping.
const (
	EnvLower   = "ATELIER_CPU"
	EnvRequire = "ATELIER_REQUIRE_ISA"
)

var names = [...]string{Generic: "generic", AVX2: "avx2", AVX512: "avx512", AVX512BF16: "avx512bf16"}

// String is the name the environment variables use: generic, avx2, avx512 or avx512bf16.
func (s Set) String() string {
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("Set(%d)", uint8(s))
}

// Parse is the inverse of String, without regard to case or surrounding space.
func Parse(name string) (Set, error) {
	for i, n := range names {
		if strings.EqualFold(strings.TrimSpace(name), n) {
			return Set(i), nil
		}
	}
	return Generic, fmt.Errorf("isa: unknown kernel set %q: want one of %s", name, strings.Join(names[:], ", "))
}

// Detected is the highest set that this processor, its operating system and this build can run.
// Builds with the purego tag and other architectures answer Generic.
func Detected() Set { return detected }

// Choose is the set to use: Detected, lowered by ATELIER_CPU when that is set. A name that is no set
// is an error; one above Detected is not, and changes nothing.
func Choose() (Set, error) {
	name := os.Getenv(EnvLower)
	if name == "" {
		return detected, nil
	}
	s, err := Parse(name)
	if err != nil {
		return Generic, fmt.Errorf("%w (environment variable %s)", err, EnvLower)
	}
	return min(s, detected), nil
}

// Sets lists every set this machine can run, lowest first, for tests and benchmarks that visit all.
func Sets() []Set {
	all := make([]Set, 0, len(names))
	for s := Generic; s <= detected; s++ {
		all = append(all, s)
	}
	return all
}

// skipper is the part of testing.TB that Need uses.
type skipper interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Need ends the test unless this machine can run s: it skips with the reason, or fails when
// ATELIER_REQUIRE_ISA names s.
func Need(t skipper, s Set) {
	t.Helper()
	if s <= detected {
		return
	}
	for name := range strings.SplitSeq(os.Getenv(EnvRequire), ",") {
		if strings.EqualFold(strings.TrimSpace(name), s.String()) {
			t.Fatalf("isa: %s requires the %v set, but this machine and build run %v at most", EnvRequire, s, detected)
			return
		}
	}
	t.Skipf("isa: needs the %v set, this machine and build run %v at most", s, detected)
}
