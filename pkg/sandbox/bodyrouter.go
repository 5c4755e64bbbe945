package sandbox

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/podrunner"
	"github.com/kubectl-infer/kubectl-infer/pkg/sandbox/process"
	"github.com/kubectl-infer/kubectl-infer/pkg/scaffold"
)

const (
	bodyRouterPort        = 9004
	bodyRouterHealthPort  = 9005
	bodyRouterMetricsPort = 9090
	bodyRouterGrace       = 500 * time.Millisecond // nobody asks it any more
	bodyRouterToken       = 10 * 365 * 24 * time.Hour
	logLines              = 12
)

// runBodyRouter keeps the gateway's body router; without it every request with
// a body is refused, so its end is the sandbox's. It follows the adapter
// ConfigMaps of the Gateway's namespace with the rights of the shipped Role.
func (s *supervisor) runBodyRouter(ctx context.Context) error {
	kubeconfig := filepath.Join(string(s.folder), "body-router.kubeconfig")
	if err := s.grantBodyRouter(ctx, kubeconfig); err != nil {
		return err
	}
	p, err := recorder{s}.Start(process.Spec{
		Name: podrunner.BodyRouter, Path: s.Executable,
		Args: []string{
			podrunner.BodyRouter, "--bind-address", s.network.bodyRouter().String(),
			fmt.Sprintf("--grpc-port=%d", bodyRouterPort), fmt.Sprintf("--grpc-health-port=%d", bodyRouterHealthPort),
			fmt.Sprintf("--metrics-port=%d", bodyRouterMetricsPort), "--secure-serving=false",
			"--kubeconfig", kubeconfig, "--namespace", GatewayNamespace,
		},
		LogPath: filepath.Join(s.folder.Logs(), podrunner.BodyRouter+".log"),
	})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return fmt.Errorf("died (%w); its last log lines:\n%s", ended(p), p.LogTail(logLines))
	case <-ctx.Done():
		_ = p.Stop(bodyRouterGrace) // being killed harms nobody any more
		return nil
	}
}

// grantBodyRouter makes the body router's ServiceAccount and its rights, and
// writes a kubeconfig with its token.
func (s *supervisor) grantBodyRouter(ctx context.Context, path string) error {
	admin := s.control.AdminConfig()
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return fmt.Errorf("make client for %s: %w", admin.Host, err)
	}
	account, err := createAccess(ctx, client)
	if err != nil {
		return err
	}
	seconds := int64(bodyRouterToken / time.Second)
	token, err := client.CoreV1().ServiceAccounts(GatewayNamespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("request a token of serviceaccount %s: %w", account, err)
	}
	config := api.NewConfig()
	config.Clusters[account] = &api.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos[account] = &api.AuthInfo{Token: token.Status.Token}
	config.Contexts[account] = &api.Context{Cluster: account, AuthInfo: account, Namespace: GatewayNamespace}
	config.CurrentContext = account
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}

// createAccess creates the ServiceAccount, Role and RoleBinding that install
// body-router makes, in the Gateway's namespace, and returns the account's name.
func createAccess(ctx context.Context, client kubernetes.Interface) (account string, err error) {
	for _, object := range scaffold.BodyRouter(scaffold.ServerOptions{About: scaffold.About{Name: podrunner.BodyRouter, Namespace: GatewayNamespace}}) {
		switch o := object.(type) {
		case *corev1.ServiceAccount:
			account, err = o.Name, create(ctx, client, o)
		case *rbacv1.Role, *rbacv1.RoleBinding:
			err = create(ctx, client, o)
		}
		if err != nil {
			return "", fmt.Errorf("create the body router's access: %w", err)
		}
	}
	return account, nil
}

func create(ctx context.Context, client kubernetes.Interface, object runtime.Object) error {
	named, err := meta.Accessor(object)
	if err == nil {
		err = asApplied(named)
	}
	if err != nil {
		return err
	}
	switch o := object.(type) {
	case *corev1.ServiceAccount:
		_, err = client.CoreV1().ServiceAccounts(GatewayNamespace).Create(ctx, o, metav1.CreateOptions{})
	case *rbacv1.Role:
		_, err = client.RbacV1().Roles(GatewayNamespace).Create(ctx, o, metav1.CreateOptions{})
	case *rbacv1.RoleBinding:
		_, err = client.RbacV1().RoleBindings(GatewayNamespace).Create(ctx, o, metav1.CreateOptions{})
	default:
		err = fmt.Errorf("%T: not a kind that gives access", object)
	}
	return err
}
