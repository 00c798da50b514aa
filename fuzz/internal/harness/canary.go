package harness

import "os"

// canaryEnv names the target whose code under test is to have a fault, put there by the target itself: so it is seen that
// the target can fail. Canaries sets it for a process of its own for each target.
const canaryEnv = "FERRY_FUZZ_CANARY"

var canaryOn = os.Getenv(canaryEnv) != ""

// Canary says whether this target has its fault.
func Canary() bool { return canaryOn }
