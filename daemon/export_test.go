package daemon

// StrangersMax is for tests.
const StrangersMax = strangersMax
