// Package oracle runs the same command lines through stock qemu-img and through platter called qemu-img, in twin folders
// with the same files, and compares standard output, standard error, exit code, and every file that is there afterwards:
// byte for byte where the table says so, else by content and by stock check.
//
// The cases come from tables. A group is VERB/FORMAT or VERB/usage; go test's -run picks them:
//
//	go test ./integration/oracle -run 'TestMatrix/create/qcow2'
//
// A new format is one row in formats_test.go, and gets every generic case. Three lists hold what is not plain equality:
// pending_test.go names the groups that are not run because platter does not do them yet, differences_test.go the
// differences that stay, normalise_test.go what is random or depends on the clock.
//
// PLATTER_TEST_BIN runs another program in platter's place. Stock against stock has no difference: that shows that the
// comparison itself is stable. PLATTER_TEST_PENDING=1 runs the pending groups too.
package oracle
