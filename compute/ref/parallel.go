package ref

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// parallel calls body on consecutive stretches that together cover 0 … n-1. The work items are independent, so how
// they are split changes nothing. A panic of body is passed on to the caller.
func parallel(n int, body func(first, end int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		body(0, n)
		return
	}
	var wait sync.WaitGroup
	failures := make([]error, workers)
	for w := range workers {
		wait.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					failures[w] = fmt.Errorf("%v\n%s", r, debug.Stack())
				}
			}()
			body(n*w/workers, n*(w+1)/workers)
		})
	}
	wait.Wait()
	for _, err := range failures {
		if err != nil {
			panic(err)
		}
	}
}
