package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"lacre"
)

const (
	day = 24 * time.Hour // of UTC: Truncate knows no other
	// auditKeys is how many audit keys are read at once where there may be packs, so that they
	// have auditBytes. Of a day of single rows up to auditRows are: etcd counts the rest of the
	// day each time.
	auditKeys  = auditBytes / packBytes
	auditRows  = 500
	auditBytes = 8 << 20
	// A day is packed packedAfter it has ended, by the clock of the node that packs. A node that
	// reads takes it for unpacked, so that no row is behind a newer one's key, until unpackedFor
	// after its end: its own clock may be behind by what lies between.
	packedAfter = time.Hour
	unpackedFor = 30 * time.Minute
	// auditsPassed is how many rows of other resources are passed over for one page.
	auditsPassed = 20_000
)

// auditRow is a row as it is stored.
type auditRow struct {
	digits  string // the sorting part of its key
	payload []byte // CBOR of auditShape
}

// audit reads a row; its project and id come from where it is stored.
func (r auditRow) audit(projectID string) (lacre.Audit, error) {
	id, err := turned(r.digits)
	if err != nil {
		return lacre.Audit{}, err
	}
	a := lacre.Audit{ID: id, ProjectID: projectID}
	err = read(r.payload, func(p auditShape) {
		a.Time, a.Action, a.Resource, a.Detail = p.Time, p.Action, p.Resource, p.Detail
		a.UserID, a.UserName, a.Source, a.RequestID = p.UserID, p.UserName, p.Source, p.RequestID
		a.AccountID = p.AccountID
	})
	return a, err
}

// singleRow takes a row out of the value that it has to itself.
func singleRow(prefix string, kv *mvccpb.KeyValue) (auditRow, error) {
	key := string(kv.Key)
	payload, err := unframe(key, kv.Value)
	return auditRow{key[len(prefix):], payload}, err
}

// Audits implements lacre.Store. It reads as of one revision, and of the day of q.After also
// what is newer: a pack there may have older rows. Unreadable rows are left out and logged.
// ErrBadIdentity means that q.After is no ID.
func (s *Store) Audits(ctx context.Context, projectID string, q lacre.AuditQuery) (lacre.AuditPage, error) {
	prefix, err := auditPrefix(projectID)
	if err != nil || q.Limit <= 0 {
		return lacre.AuditPage{}, nil
	}
	r := auditReader{store: s, projectID: projectID, prefix: prefix, query: q}
	w := auditWalk{store: s, prefix: prefix, from: prefix, to: clientv3.GetPrefixRangeEnd(prefix)}
	if q.After != "" {
		if r.after, err = turned(q.After); err != nil {
			return lacre.AuditPage{}, err
		}
		w.from = prefix + s.auditStart(r.after)
	}
	for kv, err := range w.values(ctx) {
		if errors.Is(err, lacre.ErrCompacted) { // to ask again is all there is to do
			err = fmt.Errorf("%w: %w", lacre.ErrUnavailable, err)
		}
		if err != nil {
			return lacre.AuditPage{}, err
		}
		if r.visit(ctx, kv) {
			return r.page, nil
		}
	}
	r.takeBefore(ctx, lastDigits)
	return r.page, nil
}

// auditReader fills a page.
type auditReader struct {
	store     *Store
	projectID string
	prefix    string
	query     lacre.AuditQuery
	after     string     // query.After as digits of a key
	waiting   []auditRow // of packs, until a row that came late cannot be among them any more
	passed    int
	page      lacre.AuditPage
}

// visit looks at the next key, and tells whether the page is complete. What is stored there
// and under later keys is not newer than the key.
func (r *auditReader) visit(ctx context.Context, kv *mvccpb.KeyValue) bool {
	digits := string(kv.Key[len(r.prefix):])
	if r.takeBefore(ctx, digits) {
		return true
	}
	rows, err := rowsOf(r.prefix, r.after, kv)
	if err != nil {
		r.leaveOut(ctx, digits, err)
		return false
	}
	for _, row := range rows {
		i, _ := slices.BinarySearchFunc(r.waiting, row, func(a, b auditRow) int { return strings.Compare(a.digits, b.digits) })
		r.waiting = slices.Insert(r.waiting, i, row)
	}
	return false
}

// lastDigits are behind those of every row.
const lastDigits = "g"

// takeBefore takes the waiting rows that are newer than the key with those digits, and tells
// whether the page is complete.
func (r *auditReader) takeBefore(ctx context.Context, digits string) bool {
	for len(r.waiting) > 0 && r.waiting[0].digits < digits {
		row := r.waiting[0]
		r.waiting = r.waiting[1:]
		if row.digits > r.after && r.take(ctx, row) {
			return true
		}
	}
	return false
}

// take takes the next row, and tells whether the page is complete.
func (r *auditReader) take(ctx context.Context, row auditRow) bool {
	if n := len(r.page.Audits); n == r.query.Limit {
		r.page.Next = r.page.Audits[n-1].ID
		return true
	}
	a, err := row.audit(r.projectID)
	switch {
	case err != nil:
		r.leaveOut(ctx, row.digits, err)
	case r.query.AccountID == a.AccountID && (r.query.Resource == "" || r.query.Resource == a.Resource):
		r.page.Audits = append(r.page.Audits, a)
	default:
		if r.passed++; r.passed == auditsPassed {
			r.page.Next = a.ID
		}
	}
	return r.page.Next != ""
}

func (r *auditReader) leaveOut(ctx context.Context, digits string, err error) {
	r.store.log.ErrorContext(ctx, "a list leaves out an audit row", "project", r.projectID, "row", digits, "err", err)
}

// auditWalk goes through a range of audit keys, as of one revision.
type auditWalk struct {
	store    *Store
	prefix   string
	from, to string
	at       int64 // the revision; 0 until the first page is read
}

// values yields what is stored, in the order of keys: the newest first.
func (w *auditWalk) values(ctx context.Context) iter.Seq2[*mvccpb.KeyValue, error] {
	return func(yield func(*mvccpb.KeyValue, error) bool) {
		limit := int64(auditKeys)
		for end := w.dayEnd(); ; {
			page, err := w.store.get(ctx, w.from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(w.at))
			if err != nil {
				yield(nil, fmt.Errorf("reading %s: %w", w.prefix, err))
				return
			}
			w.at = orDefault(w.at, page.Header.Revision)
			for _, kv := range page.Kvs {
				if !yield(kv, nil) {
					return
				}
			}
			switch {
			case page.More:
				limit = limitAfter(page.Kvs)
				w.from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
				end = w.dayEnd()
			case end == w.to:
				return
			default: // whatever day is next
				w.from, end, limit = end, w.to, auditKeys
			}
		}
	}
}

// limitAfter is how many values to read after a page of the same day. They are taken to be as
// large as its largest, and a pack to be full; twice as many at most, since what comes may be
// packs all the same: rows that came late are before those of their day.
func limitAfter(page []*mvccpb.KeyValue) int64 {
	largest := 1
	for _, kv := range page {
		size := len(kv.Value)
		if isPack(kv) {
			size = packBytes
		}
		largest = max(largest, size)
	}
	return int64(max(1, min(2*len(page), auditRows, auditBytes/largest)))
}

// dayEnd is where the rows of the UTC day of w.from end: etcd counts all of a range for each
// page that is read of it, so that it is better read day by day.
func (w *auditWalk) dayEnd() string {
	t, ok := auditTime(w.from[len(w.prefix):])
	if midnight := t.Truncate(day); ok && midnight.UnixNano() > 0 {
		return min(w.prefix+auditKey(midnight.Add(-1)), w.to)
	}
	return w.to
}

func isPack(kv *mvccpb.KeyValue) bool { return len(kv.Value) > 0 && kv.Value[0] == packFormat }

// auditStart is where to read on after a row, as digits of a key: right behind it while its
// day cannot be packed, else from the beginning of its day.
func (s *Store) auditStart(digits string) string {
	t, _ := auditTime(digits)
	if t.Truncate(day).Add(day + unpackedFor).After(s.now()) {
		return digits + "\x00"
	}
	return dayStart(digits)
}

// dayStart is where the rows of the UTC day of a row begin, as digits of a key. The last day
// that a key has room for ends nowhere.
func dayStart(digits string) string {
	t, _ := auditTime(digits)
	return min(auditKey(t.Truncate(day).Add(day-1)), digits)
}

// auditTime is the time of a row by the sorting part of its key.
func auditTime(digits string) (time.Time, bool) {
	down, err := strconv.ParseUint(digits[:min(16, len(digits))], 16, 63)
	return time.Unix(0, math.MaxInt64-int64(down)).UTC(), err == nil
}
