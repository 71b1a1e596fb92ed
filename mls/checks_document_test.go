package mls_test

import (
	"fmt"
	"strings"
)

const documentHead = `# What the hub checks of MLS

A hub holds none of a group's secrets, and checks what can be checked without them (RFC 9420, draft-ietf-mls-extensions). Each row is
something legal that is spoilt in one place, while all that hangs on that place is made right again, signed and hashed anew; so the
check of the row is the only one that can refuse it. Where another check would refuse it too, the last column says which.

The rows are ` + "`mls/checks*_test.go`" + `, and this page is made of them:

    go test ./mls -run 'TestCheckTable|TestCheckDocument'   # every row is refused, for its reason; -rewrite writes this page
    make without-checks                                     # takes each check out, one after the other: its rows are accepted then

Every condition of the package that refuses something has a row, but for three that no message reaches, because an earlier check stands
before them: a SelfRemove and an Update whose sender is no member, and a leaf that two Proposals of a list remove.

Beside the table, ` + "`make fuzz`" + ` gives every parser, and a group, any bytes: no panic, no more memory than 64 times the input and
64 KiB for what is read, and what is taken is an epoch with which a room could begin.

*Not checkable without secrets*: the values of membership and confirmation tags, path secrets, PSKs, what kem_output and ciphertexts
contain, the private half of external_pub. *Not MLS's*: whether an X.509 chain is to be trusted, who may join or remove whom.
`

// checkDocument is the table as a page.
func checkDocument(list []check) string {
	var b strings.Builder
	b.WriteString(documentHead)
	heading := ""
	for _, c := range list {
		if c.group != heading {
			heading = c.group
			fmt.Fprintf(&b, "\n## %s\n\n| section | what is spoilt | the refusal says | beside it |\n|---|---|---|---|\n", heading)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.TrimPrefix(c.section, "RFC 9420 "), c.mutation, c.reason, c.twice)
	}
	return b.String()
}
