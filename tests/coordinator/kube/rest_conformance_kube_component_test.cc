#include "tests/coordinator/kube/conformance_suite.h"
#include "tests/coordinator/kube/kube_test_support.h"

namespace vmferry::kube {
namespace {

class RestBackend final : public Backend {
 public:
  RestBackend()
      : bed_(*bed_with_crds()),
        cluster_(open_cluster(bed_.kubeconfig(), clock_)),
        ns_(bed_.make_namespace("conf")) {}
  Reader& reader() override { return cluster_->reader(); }
  Writer& writer() override { return cluster_->writer(); }
  std::string ns() const override { return ns_; }
  void forget_history() override {
    bed_.compact();
    bed_.restart_apiserver();  // its cache remembers more than etcd
  }

 private:
  SystemClock clock_;
  vmferry::testing::KubeBed& bed_;
  std::unique_ptr<Cluster> cluster_;
  std::string ns_;
};

std::unique_ptr<Backend> make_rest_backend(std::string& skip_reason) {
  skip_reason = vmferry::testing::KubeBed::missing();
  if (!skip_reason.empty() || bed_with_crds() == nullptr) return nullptr;
  return std::make_unique<RestBackend>();
}

INSTANTIATE_TEST_SUITE_P(Rest, ConformanceTest, ::testing::Values(MakeBackend(make_rest_backend)));

}  // namespace
}  // namespace vmferry::kube
