package atomicfile

// Sweep is sweep, for tests.
var Sweep = sweep
