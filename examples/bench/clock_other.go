//go:build !windows

package main

import "time"

var began = time.Now()

// clock is the time since some moment, in seconds.
func clock() float64 { return time.Since(began).Seconds() }
