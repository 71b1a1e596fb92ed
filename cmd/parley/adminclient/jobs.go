package adminclient

import (
	"context"
	"fmt"
	"net/http"

	"parley/httpapi"
)

// Jobs are all that the cluster keeps, the oldest first.
func (c *Client) Jobs(ctx context.Context) ([]httpapi.JobEntry, error) {
	var list struct {
		Jobs []httpapi.JobEntry `json:"jobs"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/jobs", nil, &list)
	return list.Jobs, err
}

func (c *Client) Job(ctx context.Context, id uint64) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/jobs/%d", id), nil, &job)
}

func (c *Client) SteerJob(ctx context.Context, id uint64, wish httpapi.JobWish) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/jobs/%d/%s", id, wish), nil, &job)
}

// Audit is a page of the audit log, the newest first: entries below a sequence, or the last ones where that is 0.
func (c *Client) Audit(ctx context.Context, before uint64, limit int) ([]httpapi.AuditEntry, error) {
	var page struct {
		Entries []httpapi.AuditEntry `json:"entries"`
	}
	err := c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/audit?before=%d&limit=%d", before, limit), nil, &page)
	return page.Entries, err
}

// MakePlan has a plan worked out and kept.
func (c *Client) MakePlan(ctx context.Context, r httpapi.PlanRequest) (plan httpapi.PlanEntry, err error) {
	return plan, c.do(ctx, http.MethodPost, "/v1/plans", r, &plan)
}

func (c *Client) Plan(ctx context.Context, id uint64) (plan httpapi.PlanEntry, err error) {
	return plan, c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/plans/%d", id), nil, &plan)
}

func (c *Client) ApplyPlan(ctx context.Context, id uint64) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/plans/%d/apply", id), nil, &job)
}
