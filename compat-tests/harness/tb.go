package harness

// TB is what the harness needs of a test. *testing.T has it; so has what runs
// brokers outside of tests, which testing.TB would not let in.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(f func())
	Failed() bool
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}
