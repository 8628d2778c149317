// Command example renews a certificate with the official Go SDK.
//
//	example CERTIFICATE_ID CERT_FILE KEY_FILE
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	apig "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/apig/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/apig/v2/model"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: example CERTIFICATE_ID CERT_FILE KEY_FILE")
	}
	if err := renew(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func renew(id, certFile, keyFile string) error {
	credentials, err := basic.NewCredentialsBuilder().
		WithAk(os.Getenv("HUAWEICLOUD_SDK_AK")). // access_key of credentials.json
		WithSk(os.Getenv("HUAWEICLOUD_SDK_SK")). // secret_key
		WithProjectId(os.Getenv("HUAWEICLOUD_SDK_PROJECT_ID")).
		SafeBuild()
	if err != nil {
		return err
	}
	http, err := apig.ApigClientBuilder().WithEndpoint(os.Getenv("LACRE_URL")).WithCredential(credentials).SafeBuild()
	if err != nil {
		return err
	}
	client := apig.NewApigClient(http)

	old, err := client.ShowDetailsOfCertificateV2(&model.ShowDetailsOfCertificateV2Request{CertificateId: id})
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	renewed, err := client.UpdateCertificateV2(&model.UpdateCertificateV2Request{
		CertificateId: id,
		Body:          &model.CertificateForm{Name: *old.Name, CertContent: string(cert), PrivateKey: string(key)},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s is valid until %s\n", *renewed.Name, renewed.NotAfter)
	return nil
}
