package edge

import (
	"maps"
	"slices"

	"lacre"
)

// How much of what fails is reported: certificates of each project, and projects.
const (
	maxFailing         = 10
	maxFailingProjects = 100
	maxMore            = 2 * maxFailingProjects // those that are damaged are not among the former
)

// failures are the claims that were disproven. What is reported of them is bounded for each
// project, so that one cannot hide another's, and the same until something changes.
type failures struct {
	why      map[*served]map[*site]string // of each claim
	projects map[string]*projectFailures
	domains  map[string]string // projects, by the domains of which the record is damaged
	report   lacre.Proof       // only what failures know of it
	stale    bool              // report is
}

// projectFailures are the certificates of one project, those first to fail by name.
type projectFailures struct{ listed, others map[*served]struct{} }

func newFailures() failures {
	return failures{why: make(map[*served]map[*site]string), projects: make(map[string]*projectFailures), domains: make(map[string]string)}
}

// add notes why a claim fails, and tells whether that is news.
func (f *failures) add(c claim, why string) bool {
	of := f.why[c.certificate]
	if of == nil {
		of = make(map[*site]string)
		f.why[c.certificate] = of
		f.list(c.certificate)
	}
	if of[c.site] == why {
		return false
	}
	of[c.site], f.stale = why, true
	return true
}

func (f *failures) list(c *served) {
	p := f.projects[c.key.project]
	if p == nil {
		p = &projectFailures{make(map[*served]struct{}), make(map[*served]struct{})}
		f.projects[c.key.project] = p
	}
	if len(p.listed) < maxFailing {
		p.listed[c] = struct{}{}
	} else {
		p.others[c] = struct{}{}
	}
}

// remove forgets that a claim has failed.
func (f *failures) remove(c claim) {
	of := f.why[c.certificate]
	if of == nil {
		return
	}
	f.stale = true
	if delete(of, c.site); len(of) > 0 {
		return
	}
	delete(f.why, c.certificate)
	p := f.projects[c.certificate.key.project]
	delete(p.listed, c.certificate)
	delete(p.others, c.certificate)
	for next := range p.others {
		if len(p.listed) < maxFailing {
			delete(p.others, next)
			p.listed[next] = struct{}{}
		}
		break
	}
	if len(p.listed)+len(p.others) == 0 {
		delete(f.projects, c.certificate.key.project)
	}
}

// proof is what a Proof says of failures. It is not to be changed.
func (f *failures) proof() lacre.Proof {
	if !f.stale {
		return f.report
	}
	f.stale, f.report = false, lacre.Proof{}
	ids := slices.Sorted(maps.Keys(f.projects))
	if over := len(ids) - maxFailingProjects; over > 0 {
		ids, f.report.Unlisted = ids[:maxFailingProjects], over
	}
	for _, id := range ids {
		p := f.projects[id]
		for c := range p.listed {
			f.report.Failing = append(f.report.Failing, lacre.Failing{ProjectID: id, CertificateID: c.key.id, Reason: f.reason(c)})
		}
		if len(p.others) > 0 {
			f.report.More = append(f.report.More, id)
		}
	}
	for _, project := range f.domains { // which certificates it should have nobody knows
		f.report.More = append(f.report.More, project)
	}
	slices.Sort(f.report.More)
	f.report.More = slices.Compact(f.report.More)
	if over := len(f.report.More); over > maxMore { // none is named: each may fail
		f.report = lacre.Proof{Unlisted: over}
	}
	slices.SortFunc(f.report.Failing, lacre.Failing.Compare)
	return f.report
}

// reason is one of those why a certificate fails, always the same.
func (f *failures) reason(c *served) string { return slices.Min(slices.Collect(maps.Values(f.why[c]))) }
