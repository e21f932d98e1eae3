//go:build purego || !amd64

package isa

const detected = Generic
