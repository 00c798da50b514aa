package fuzz

import (
	"os"
	"testing"
)

// canaryEnv names the target whose code under test is to have a fault, put there by the target itself: so it is seen that
// the target can fail.
const canaryEnv = "FERRY_FUZZ_CANARY"

// canary says whether this target has its fault.
func canary(t *testing.T) bool { return os.Getenv(canaryEnv) != "" }
