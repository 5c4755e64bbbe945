package podrunner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubectl-infer/kubectl-infer/pkg/hint"
)

const (
	tokenLifetime = 24 * time.Hour
	tokenRenewal  = tokenLifetime / 2
)

// account returns the Pod's ServiceAccount. "default" is made where it is
// missing, as a controller would; a named one must exist.
func (r *Runner) account(ctx context.Context, pod *corev1.Pod) (*corev1.ServiceAccount, error) {
	accounts := r.client.CoreV1().ServiceAccounts(pod.Namespace)
	name := serviceAccount(pod)
	found, err := accounts.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && name == "default" {
		found, err = accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			found, err = accounts.Get(ctx, name, metav1.GetOptions{})
		}
	}
	if err != nil {
		return nil, hint.Errorf(fmt.Sprintf("kubectl create serviceaccount %s -n %s", name, pod.Namespace),
			"get serviceaccount %s/%s: %w", pod.Namespace, name, err)
	}
	return found, nil
}

// mountsToken follows automountServiceAccountToken: the Pod's word, then its
// ServiceAccount's, else yes.
func mountsToken(pod *corev1.Pod, account *corev1.ServiceAccount) bool {
	for _, word := range []*bool{pod.Spec.AutomountServiceAccountToken, account.AutomountServiceAccountToken} {
		if word != nil {
			return *word
		}
	}
	return true
}

// writeToken asks for a token of the Pod's ServiceAccount and puts it in dir.
func (r *Runner) writeToken(ctx context.Context, pod *corev1.Pod, dir string) error {
	seconds := int64(tokenLifetime / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	name := serviceAccount(pod)
	answer, err := r.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("request a token of serviceaccount %s/%s: %w", pod.Namespace, name, err)
	}
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path+".new", []byte(answer.Status.Token), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// writeKubeconfig writes the kubeconfig of a Pod into dir; it points to the
// token file beside it, so that a renewed token is picked up.
func (r *Runner) writeKubeconfig(pod *corev1.Pod, dir string) (string, error) {
	const name = "pod"
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: r.config.Host, CertificateAuthorityData: r.config.CAData}
	config.AuthInfos[name] = &api.AuthInfo{TokenFile: filepath.Join(dir, "token")}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name, Namespace: pod.Namespace}
	config.CurrentContext = name
	path := filepath.Join(dir, "kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}
