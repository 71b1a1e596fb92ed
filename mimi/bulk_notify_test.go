package mimi

import (
	"errors"
	"testing"

	"parley/mls"
)

func sampleBulkNotify() BulkNotifyRequest {
	return BulkNotifyRequest{[]NotifyItem{
		NewNotifyItem(sampleRoom, sampleFanout()[0].Marshal(), nil),
		NewNotifyItem(sampleRoom, sampleFanout()[5].Marshal(), []Notice{PolicyChanged{Epoch: 8, Changes: RolesChanged}, RoomDestroyed{}}),
		NewNotifyItem(RoomURI{}, nil, []Notice{UserDeleted{User: sampleAlice, Millis: 3}}),
	}}
}

func sampleBulkNotifyResponse() BulkNotifyResponse {
	return BulkNotifyResponse{Taken: 9, Exceptions: []NotifyException{
		{Index: 0, Code: NotifyMalformed, Reason: "FanoutMessage[0].message"},
		{Index: 7, Code: NotifyOverloaded, RetryAfterSeconds: 2},
		{Index: 8, Code: 0xc0},
	}}
}

func init() {
	codecs = append(codecs,
		codecOf("BulkNotifyRequest", ParseBulkNotifyRequest, sampleBulkNotify()),
		codecOf("BulkNotifyResponse", ParseBulkNotifyResponse, BulkNotifyResponse{}, sampleBulkNotifyResponse()))
}

func FuzzBulkNotifyRequest(f *testing.F)  { fuzzIdentity(f, "BulkNotifyRequest", nil) }
func FuzzBulkNotifyResponse(f *testing.F) { fuzzIdentity(f, "BulkNotifyResponse", nil) }

func TestBulkNotifyRefusals(t *testing.T) {
	response := func(change func(*BulkNotifyResponse)) []byte {
		r := sampleBulkNotifyResponse()
		change(&r)
		return r.Marshal()
	}
	ask := func(b []byte) error { _, err := ParseBulkNotifyRequest(b); return err }
	answer := func(b []byte) error { _, err := ParseBulkNotifyResponse(b); return err }
	for name, test := range map[string]struct {
		err   error
		field string
	}{
		"another format":     {ask(poke(sampleBulkNotify().Marshal(), 0, 2)), "BulkNotifyRequest.format"},
		"no item":            {ask(BulkNotifyRequest{}.Marshal()), "BulkNotifyRequest.items"},
		"too many items":     {ask(BulkNotifyRequest{make([]NotifyItem, NotifyItemsMax+1)}.Marshal()), "BulkNotifyRequest.items"},
		"more than there is": {answer(BulkNotifyResponse{Taken: NotifyItemsMax + 1}.Marshal()), "BulkNotifyResponse.taken"},
		"out of order":       {answer(response(func(r *BulkNotifyResponse) { r.Exceptions[1].Index = 0 })), "BulkNotifyResponse.exceptions"},
		"not looked at":      {answer(response(func(r *BulkNotifyResponse) { r.Taken = 8 })), "BulkNotifyResponse.exceptions"},
		"an exception of no sort": {answer(response(func(r *BulkNotifyResponse) { r.Exceptions[2].Code = 0 })),
			"BulkNotifyResponse.exceptions[2].code"},
	} {
		var malformed *mls.MalformedError
		if !errors.As(test.err, &malformed) || malformed.Field != test.field {
			t.Errorf("%s: %v", name, test.err)
		}
	}
	if err := ask(BulkNotifyRequest{make([]NotifyItem, NotifyItemsMax)}.Marshal()); err != nil {
		t.Errorf("%d items: %v", NotifyItemsMax, err)
	}
}

// What is wrong in the notices of one item leaves the other items readable.
func TestBulkNotifyNotices(t *testing.T) {
	request := sampleBulkNotify()
	request.Items[0].Notices = []byte{byte(NoticeRoomDestroyed), 1, 0}
	parsed, err := ParseBulkNotifyRequest(request.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseNotices(parsed.Items[0].Notices); !isMalformed(err) {
		t.Errorf("a broken notice: %v, %v", got, err)
	}
	got, err := ParseNotices(parsed.Items[1].Notices)
	if err != nil || len(got) != 2 || got[0] != (PolicyChanged{Epoch: 8, Changes: RolesChanged}) || got[1] != (RoomDestroyed{}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseNotices(nil); err != nil || got != nil {
		t.Errorf("none: %v, %v", got, err)
	}
	many := make([]Notice, noticesPerItemMax+1)
	for i := range many {
		many[i] = RoomDestroyed{}
	}
	if _, err := ParseNotices(NewNotifyItem(sampleRoom, nil, many).Notices); !isMalformed(err) {
		t.Errorf("%d notices: %v", len(many), err)
	}
	if _, err := ParseNotices(NewNotifyItem(sampleRoom, nil, many[1:]).Notices); err != nil {
		t.Errorf("%d notices: %v", len(many)-1, err)
	}
}
