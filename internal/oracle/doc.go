// Package oracle is a second opinion on the gradient rules of package compute: small formulas are differentiated by
// Gorgonia's autodiff, an implementation that shares nothing with ours, and the results compared in float64.
//
// It holds tests only and is a module of its own, so that no user of the library downloads Gorgonia. Run it with
//
//	cd internal/oracle && go test ./...
//
// Gorgonia has no erf and no two-part inputs; GELU, GEGLU and those are left to the central differences of computetest.
package oracle
