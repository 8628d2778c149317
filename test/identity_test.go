package test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	apig "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/apig/v2"
	apigmodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/apig/v2/model"
	iam "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3"
	iammodel "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/iam/v3/model"
)

// firstProject is the name of the project that a new store has. Clients that know a
// region and no project look for the project of the region's name.
const firstProject = "default"

// TestProjectOfRegion builds a client without a project id: the SDK asks for it.
func TestProjectOfRegion(t *testing.T) {
	t.Parallel()
	l := start(t)
	build := func(name string) (*apig.ApigClient, error) {
		credentials, err := basic.NewCredentialsBuilder().WithAk(l.AccessKey).WithSk(l.SecretKey).WithIamEndpointOverride(l.URL).SafeBuild()
		if err != nil {
			t.Fatal(err)
		}
		client, err := apig.ApigClientBuilder().WithRegion(region.NewRegion(name, l.URL)).WithCredential(credentials).SafeBuild()
		if err != nil {
			return nil, err
		}
		return apig.NewApigClient(client), nil
	}
	client, err := build(firstProject)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := client.ShowDetailsOfInstanceV2(&apigmodel.ShowDetailsOfInstanceV2Request{InstanceId: l.InstanceID})
	if err != nil {
		t.Fatal(err)
	}
	if got := *shown.ProjectId; got != l.ProjectID {
		t.Errorf("got project %s, want %s", got, l.ProjectID)
	}
	if _, err := build("cn-north-4"); err == nil {
		t.Error("got a client of a region without a project, want an error")
	}
	for _, command := range []string{"iam project create cn-north-4", "iam user grant admin admin --project cn-north-4"} {
		if !strings.Contains(compatibility(t), "lacre "+command) {
			t.Errorf("docs/compatibility.md does not have %q", command)
		}
		l.run(t, strings.Fields(command)...)
	}
	if client, err = build("cn-north-4"); err != nil {
		t.Fatal(err)
	}
	list, err := client.ListInstancesV2(&apigmodel.ListInstancesV2Request{})
	if err != nil {
		t.Fatal(err)
	}
	if all := *list.Instances; len(all) != 1 || *all[0].InstanceName != "default" || *all[0].ProjectId == l.ProjectID {
		t.Errorf("got instances %v of the region's project, want one called default, of its own", all)
	}
}

// accountClient is a client with the credentials of an account: the SDK asks for its id.
func (l *lacre) accountClient(t *testing.T, secretKey string) (*iam.IamClient, error) {
	t.Helper()
	credentials, err := global.NewCredentialsBuilder().WithAk(l.AccessKey).WithSk(secretKey).WithIamEndpointOverride(l.URL).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	client, err := iam.IamClientBuilder().WithRegion(region.NewRegion(firstProject, l.URL)).WithCredential(credentials).SafeBuild()
	if err != nil {
		return nil, err
	}
	return iam.NewIamClient(client), nil
}

// TestProjectsOfAccount asks as certificate deployers do that have to find the project
// of a region themselves.
func TestProjectsOfAccount(t *testing.T) {
	t.Parallel()
	l := start(t)
	client, err := l.accountClient(t, l.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := client.KeystoneListAuthDomains(&iammodel.KeystoneListAuthDomainsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if accounts.Domains == nil || len(*accounts.Domains) != 1 || !hexID.MatchString((*accounts.Domains)[0].Id) {
		t.Fatalf("got accounts %v, want one with an id", accounts.Domains)
	}
	account := (*accounts.Domains)[0].Id
	wantAccounts := &iammodel.KeystoneListAuthDomainsResponse{
		Domains:        &[]iammodel.Domains{{Enabled: true, Id: account, Name: l.AccountName, Links: &iammodel.LinksSelf{}}},
		Links:          &iammodel.LinksSelf{},
		HttpStatusCode: http.StatusOK,
	}
	if diff := cmp.Diff(wantAccounts, accounts); diff != "" {
		t.Errorf("KeystoneListAuthDomains (-want +got):\n%s", diff)
	}
	for name, want := range map[string][]iammodel.ProjectResult{
		firstProject: {{Id: l.ProjectID, Name: firstProject, DomainId: account, ParentId: account, Enabled: true, Links: &iammodel.Links{}}},
		"cn-north-4": {},
	} {
		projects, err := client.KeystoneListProjects(&iammodel.KeystoneListProjectsRequest{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		want := &iammodel.KeystoneListProjectsResponse{Links: &iammodel.Links{}, Projects: &want, HttpStatusCode: http.StatusOK}
		if diff := cmp.Diff(want, projects); diff != "" {
			t.Errorf("KeystoneListProjects %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStrangersRefused(t *testing.T) {
	t.Parallel()
	l := start(t)
	if _, err := l.accountClient(t, "wrong"); status(err) != http.StatusUnauthorized {
		t.Errorf("identity call with a wrong secret key: got %v, want 401", err)
	}
	wrong, unknownKey, elsewhere := *l, *l, *l
	wrong.SecretKey, unknownKey.AccessKey, elsewhere.ProjectID = "wrong", "UNKNOWN", unknown
	for _, test := range []struct { // few wrong ones: more would lock the key
		name string
		as   lacre
		code string
	}{
		{"the project of others", elsewhere, "APIG.1005"},
		{"an unknown access key", unknownKey, "APIGW.0301"},
		{"a wrong secret key", wrong, "APIGW.0301"},
	} {
		for _, product := range []string{apigw, apic} {
			t.Run(test.name+" to "+product, func(t *testing.T) {
				s := &service{T: t, lacre: &test.as, client: test.as.client(t, product)}
				s.refused(test.code, "ListCertificatesV2", fields{"instance_id": l.InstanceID})
			})
		}
	}
}

func status(err error) int {
	if e, ok := errors.AsType[*sdkerr.ServiceResponseError](err); ok {
		return e.StatusCode
	}
	return 0
}
