# Whoever gets a shell on a control plane is its administrator already.
export KUBECONFIG=/etc/kubernetes/admin.conf
