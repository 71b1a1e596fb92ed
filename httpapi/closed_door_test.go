package httpapi

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Whoever asks whatever at the door of a node that is out of its cluster hears that another is to be asked, and nothing of this one's affairs; the
// connection is not used again.
func TestClosedDoor(t *testing.T) {
	ca := newAuthority(t, "CA")
	address := serve(t, NewClosedDoor("peer", always(ca.issue(bothUsages, "a.example")), requestMetrics(t), quiet()))
	for _, alone := range []bool{false, true} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: !alone}}
		for _, request := range []string{"GET /.well-known/mimi-protocol-directory", "POST /v1/bulk/submit", "GET /v1/inbox", "DELETE /"} {
			method, path, _ := strings.Cut(request, " ")
			r, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, strings.NewReader("anything"))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var problem Problem
			body, err := io.ReadAll(answer.Body)
			if err == nil {
				err = json.Unmarshal(body, &problem)
			}
			if err != nil || answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || problem.Type != ProblemTypeRemoved || !strings.Contains(problem.Detail, "another node") {
				t.Errorf("%s: %s, Retry-After %q, %s, %v", request, answer.Status, answer.Header.Get("Retry-After"), body, err)
			}
			if alone && !answer.Close {
				t.Errorf("%s: the connection stays", request)
			}
			_ = answer.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

// The operator hears why.
func TestRemovedNodeRefusesTheOperator(t *testing.T) {
	problem, hidden := problemOf(&RemovedError{Reason: "node n3 was removed"})
	if hidden || problem.Status != 503 || problem.Type != ProblemTypeRemoved || problem.Detail != "node n3 was removed" || problem.retryAfter == 0 {
		t.Errorf("%+v", problem)
	}
}
