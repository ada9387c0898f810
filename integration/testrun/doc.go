// Testrun runs go test and prints what a reader of a log wants: one line a package, the whole output of what failed,
// and at the end every skipped test with its reason. Its exit code is go test's.
//
//	go run ./integration/testrun [flags of go test] [packages]
package main
