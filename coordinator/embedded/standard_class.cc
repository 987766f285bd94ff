#include "coordinator/embedded/standard_class.h"

namespace vmferry::embedded {

kube::Object standard_class() {
  return kube::Object(
      nlohmann::json{{"apiVersion", "storage.k8s.io/v1"},
                     {"kind", "StorageClass"},
                     {"metadata",
                      {{"name", "standard"},
                       {"annotations", {{"storageclass.kubernetes.io/is-default-class", "true"}}}}},
                     {"provisioner", kDirectoryProvisioner},
                     {"parameters", {{"path", "volumes"}}}});
}

}  // namespace vmferry::embedded
