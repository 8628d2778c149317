package main

import "cmp"

// oldest is the number of the oldest version kept of c.
func (c *certModel) oldest() int { return max(1, len(c.history)-9) }

// back makes c what its version number was, under the name it has.
func (c *certModel) back(number int) {
	u := *c.history[number-1]
	if u.serial == c.serial && (*u.roots != "") == c.roots {
		c.generation++
		return
	}
	u.name = c.name
	c.hold(&u)
}

func (a *tenant) listVersions() *attempt {
	id := a.certID()
	return &attempt{name: "list versions", method: "GET", path: "/certificates/" + id + "/versions", status: 200, refused: a.lacksCert(id)}
}

func (a *tenant) rollBack() *attempt {
	id, number := a.certID(), 1
	c := a.cert(id)
	match, stale := a.matching(c)
	refused := cmp.Or(a.lacksCert(id), stale)
	if c != nil {
		number = a.random.IntN(len(c.history) + 2)
		if number < c.oldest() || number > len(c.history) {
			refused = cmp.Or(refused, "APIG.2011")
		} else {
			refused = cmp.Or(refused, a.breaks(c, c.history[number-1]))
		}
	}
	try := &attempt{name: "roll back", method: "POST", path: "/certificates/" + id + "/rollback",
		body: map[string]any{"version_id": number}, match: match, status: 200, refused: refused}
	if a.chance(8) {
		try.path += "?dry_run=true"
		return try
	}
	try.then = func(*answer) { c.back(number) }
	return try
}
