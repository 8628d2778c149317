package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"lacre"
	"lacre/api"
)

// errorCodes are the codes of the compatible APIs' tables (APIG, and APIGW of the gateway in
// front of it), with the reason why nothing here answers with one; none means that these
// tests must have seen it, answered to a real request.
var errorCodes = map[string]string{
	"APIG.2000":  "",
	"APIG.2001":  "",
	"APIG.2002":  "2011 with what was expected says more", // too small
	"APIG.2003":  "2011 with what was expected says more", // too large
	"APIG.2004":  "2011 with what was expected says more", // out of range
	"APIG.2005":  "2011 with what was expected says more", // too short
	"APIG.2006":  "2011 with what was expected says more", // too long
	"APIG.2007":  "2011 with what was expected says more", // invalid length
	"APIG.2011":  "",
	"APIG.2012":  "",
	"APIG.2023":  "names are not resolved: an edge may serve names that point elsewhere today",
	"APIG.2024":  "",
	"APIG.2029":  "there are no default certificates",
	"APIG.2034":  "the register of ICP licences is the cloud's",
	"APIG.2035":  "the register of ICP licences is the cloud's",
	"APIG.2049":  "any port is taken and stored; the edge has one listener for each protocol",
	"APIG.2050":  "a name has one domain in an instance whatever its ports: 3305",
	"APIG.2051":  "",
	"APIG.2101":  "",
	"APIG.2102":  "",
	"APIG.2103":  "",
	"APIG.2104":  "",
	"APIG.2105":  "",
	"APIG.2106":  "",
	"APIG.2109":  "",
	"APIG.3148":  "",
	"APIG.3201":  "",
	"APIG.3305":  "",
	"APIG.3309":  "attaching again succeeds: clients do it to change the flag",
	"APIG.3325":  "",
	"APIG.3715":  "every certificate verifies with its own trust roots, whatever their algorithm",
	"APIG.1000":  "",
	"APIG.1001":  "",
	"APIG.1002":  "",
	"APIG.1003":  "",
	"APIG.1007":  "every token is of a user of an account",
	"APIG.1009":  "every token is of a user",
	"APIG.1005":  "",
	"APIG.1020":  "1005 says no more than it must",
	"APIG.1101":  "permissions are of the project, not of a group",
	"APIG.1136":  "permissions are of the project, not of an instance",
	"APIG.1301":  "permissions are of the project, not of a domain",
	"APIG.1115":  "another project's certificate answers as one that does not exist",
	"APIG.3100":  "",
	"APIG.3101":  "",
	"APIG.3108":  "",
	"APIG.3400":  "",
	"APIG.3415":  "there are no APIs in a group",
	"APIG.3474":  "",
	"APIG.3001":  "",
	"APIG.3020":  "",
	"APIG.3021":  "",
	"APIG.3025":  "certificates of one domain only are ordinary ones here: 3021",
	"APIG.3030":  "",
	"APIG.3097":  "",
	"APIG.3708":  "",
	"APIG.3709":  "",
	"APIG.3711":  "there are no configuration parameters",
	"APIG.3458":  "",
	"APIG.3500":  "",
	"APIG.9004":  "the IAM of these tests is in the same process: what can fail is its store, 3500",
	"APIG.9008":  "",
	"APIG.9999":  "",
	"APIG.9994":  "an unknown path is refused as by the gateway in front: APIGW.0101",
	"APIGW.0101": "",
	"APIGW.0201": "",
	"APIGW.0301": "",
	"APIGW.0303": "applications do not call this API",
	"APIGW.0308": "its status is 429, on which Terraform waits for minutes: 9008",
	"LACRE.0412": "",
}

// answered collects the error codes of this run, and the first message of each.
var answered = struct {
	sync.Mutex
	messages map[string]string
}{messages: map[string]string{}}

// witness notes the error code of an answer, unless the test's own gate made the error up.
func witness(r *http.Request, body []byte) {
	var e struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}
	if strings.HasPrefix(r.Header.Get("X-Auth-Token"), "code.") || json.Unmarshal(body, &e) != nil || e.Code == "" {
		return
	}
	answered.Lock()
	defer answered.Unlock()
	if answered.messages[e.Code] == "" {
		answered.messages[e.Code] = e.Message
	}
}

// unaccounted compares what a whole run answered with errorCodes.
func unaccounted() []string {
	answered.Lock()
	defer answered.Unlock()
	var wrong []string
	for code, reason := range errorCodes {
		if _, seen := answered.messages[code]; seen != (reason == "") {
			wrong = append(wrong, fmt.Sprintf("%s: answered: %t, reason not to: %q", code, seen, reason))
		}
	}
	for code := range answered.messages {
		if _, known := errorCodes[code]; !known {
			wrong = append(wrong, code+": answered, but in no table")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// wholeRun tells whether all tests were to run.
func wholeRun() bool {
	return flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" &&
		flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == ""
}

func TestQuotas(t *testing.T) {
	w := newWorld(t, func(_ *api.Config, c *lacre.Config) {
		c.InstancesPerProject, c.GroupsPerInstance, c.CertificatesPerProject = 2, 1, 1
	})
	groups := "/instances/" + w.instance + "/api-groups"
	w.post("/instances", obj{"instance_name": "edge_west"}).ok(201)
	w.post("/instances", obj{"instance_name": "edge_east"}).refused(403, "APIG.3100", "at most 2 instances")
	w.post(groups, obj{"name": "shop"}).ok(201)
	w.post(groups, obj{"name": "shed"}).refused(403, "APIG.3101", "at most 1 API groups")
	w.certificate(w.form("cert_one", "www.a.test"))
	w.post("/certificates", w.form("cert_two", "www.a.test")).refused(403, "APIG.3100", "at most 1 certificates")
}

// What is wrong with one parameter is said with its name and what was expected.
func TestMessagesNameTheParameterAndWhatWasExpected(t *testing.T) {
	w := newWorld(t)
	group := w.group("shop")
	for _, row := range []struct {
		a      *answer
		status int
		number string
		pieces []string
	}{
		{w.post("/certificates", with(w.form("cert_one", "www.a.test"), "name", 5)), 400, "APIG.2000", []string{"parameterName:name", "a string"}},
		{w.post("/certificates", obj{"name": "cert_one"}), 400, "APIG.2001", []string{"parameterName:cert_content"}},
		{w.post("/certificates", w.form("x", "www.a.test")), 400, "APIG.2011", []string{"parameterName:name", "4 to 50"}},
		{w.get("/certificates?instance_id=&type=all"), 400, "APIG.2012", []string{"parameterName:type", "instance or global"}},
		{w.post(group+"/domains", obj{"url_domain": "a b"}), 400, "APIG.2024", []string{"url_domain", "host name"}},
		{w.post(group+"/domains", obj{"url_domain": "www.a.test", "min_ssl_version": "SSLv3"}), 400, "APIG.2011",
			[]string{"parameterName:min_ssl_version", "TLSv1.2"}},
		{w.post("/certificates", with(w.form("cert_one", "www.a.test"), "algorithm_type", "RSA")), 409, "APIG.3709", []string{"algorithm_type", "ECC"}},
		{w.post("/certificates", with(w.form("cert_one", "www.a.test"), "private_key", "x")), 400, "APIG.2106", []string{"private_key"}},
	} {
		row.a.refused(row.status, row.number, row.pieces...)
	}
}

// The error table of docs/api.md has every code that can be answered, and no other.
func TestTheDocumentedCodesAreThoseThereAre(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) > 3 && strings.Contains(cells[2], ".") {
			documented[strings.TrimSpace(cells[2])] = true
		}
	}
	given := map[string]bool{}
	for _, m := range wire {
		given[m.number] = true
	}
	for code := range errorCodes {
		if documented[code] != given[code] {
			t.Errorf("%s: got documented %t, want %t", code, documented[code], given[code])
		}
	}
	for code, m := range wire {
		row := fmt.Sprintf("| %d | %s |", m.status, m.number)
		if code != lacre.Code("a code of tomorrow") && !strings.Contains(string(text), row) {
			t.Errorf("got no row %q in docs/api.md for %s", row, code)
		}
	}
}
