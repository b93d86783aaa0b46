package watchdog

// SweepOnce exports sweep for tests.
var SweepOnce = (*Watchdog).sweep

// MaxRepeats exports maxRepeats for tests.
const MaxRepeats = maxRepeats
