#include <fstream>

#include "common/catalogue.h"
#include "tests/coordinator/imports/cluster_bench.h"

// Imports on the real API server: what goes wrong there ends in a condition that says what to do,
// and goes on by itself once that is done.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;

class ImportOnClusterTest : public ClusterBench {
 protected:
  void quota(const std::string& name, const json& hard) {
    bed_->request("POST", path("resourcequotas", ns_),
                  {{"metadata", {{"name", name}}}, {"spec", {{"hard", hard}}}});
    // Until its first count it refuses nothing, or everything.
    EXPECT_TRUE(kube::eventually([&] {
      return bed_->request("GET", path("resourcequotas", ns_, name))["status"].contains("used");
    }));
  }
  std::string policies() const { return "/apis/admissionregistration.k8s.io/v1/"; }
  // Refuses the creation of `plural` in this test's namespace.
  void refuse(const std::string& group, const std::string& plural, const std::string& text) {
    const std::string name = "refuse-" + plural + "-" + ns_;
    bed_->request(
        "POST", policies() + "validatingadmissionpolicies",
        {{"metadata", {{"name", name}}},
         {"spec",
          {{"failurePolicy", "Fail"},
           {"matchConstraints",
            {{"namespaceSelector", {{"matchLabels", {{"kubernetes.io/metadata.name", ns_}}}}},
             {"resourceRules",
              {{{"apiGroups", {group}},
                {"apiVersions", {"*"}},
                {"operations", {"CREATE"}},
                {"resources", {plural}}}}}}},
           {"validations", {{{"expression", "false"}, {"message", text}}}}}}});
    bed_->request("POST", policies() + "validatingadmissionpolicybindings",
                  {{"metadata", {{"name", name}}},
                   {"spec", {{"policyName", name}, {"validationActions", {"Deny"}}}}});
    refused_.push_back(name);
  }
  void allow_again() {
    for (const std::string& name : std::exchange(refused_, {})) {
      bed_->request("DELETE", policies() + "validatingadmissionpolicybindings/" + name);
      bed_->request("DELETE", policies() + "validatingadmissionpolicies/" + name);
    }
  }
  // A policy counts some moments after it was made.
  void wait_until_refused(const std::string& where, const json& object, const std::string& text) {
    EXPECT_TRUE(kube::eventually([&] {
      return bed_->try_request("POST", where + "?dryRun=All", object).second.dump().find(text) !=
             std::string::npos;
    }));
  }
  static json any_vm() {
    return json::parse(R"({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
        "metadata": {"name": "web"}, "spec": {"runStrategy": "Halted", "template": {"spec": {
        "domain": {"devices": {}}}}}})");
  }
  static json any_pod() {
    return {{"metadata", {{"name", "any"}}},
            {"spec", {{"containers", {{{"name", "c"}, {"image", "i"}}}}}}};
  }
  void TearDown() override {
    if (bed_ != nullptr) allow_again();
    ClusterBench::TearDown();
  }
  std::vector<std::string> refused_;
};

TEST_F(ImportOnClusterTest, GoesAllTheWayAndTellsAboutIt) {
  create_import();
  int percent = 0;
  ASSERT_TRUE(kube::eventually([&] {
    pass();
    const int now = std::stoi(import()["metadata"]
                                  .value("annotations", json::object())
                                  .value("vmimport.v2v.kubevirt.io/progress", "0"));
    EXPECT_GE(now, percent) << "progress never falls";
    percent = now;
    return condition("Succeeded") != "";
  })) << last_error_
      << all_conditions();
  ASSERT_TRUE(succeeds());
  EXPECT_EQ(percent, 100);
  EXPECT_THAT(condition("Valid"), HasSubstr("True/"));
  EXPECT_THAT(condition("Processing"), HasSubstr("True/ProcessingCompleted"));
  for (const char* reason : {"ImportScheduled", "DiskCopied", "ImportSucceeded"}) {
    EXPECT_THAT(events(), Contains(Key(reason)));
  }
  const json vm = bed_->request("GET", vms_path("web"));
  EXPECT_EQ(testing::KubeBed::strictly_decoded({vm}), "");
  EXPECT_EQ(count("pods"), 0U) << "no holder is left";
  EXPECT_EQ(count("persistentvolumeclaims"), 2U);
  const json claims = bed_->request("GET", path("persistentvolumeclaims", ns_));
  for (const json& item : claims["items"]) {
    ASSERT_EQ(item["metadata"]["ownerReferences"].size(), 1U);
    EXPECT_EQ(item["metadata"]["ownerReferences"][0]["uid"], vm["metadata"]["uid"]);
  }
  const json object = import();
  EXPECT_FALSE(object["metadata"].contains("finalizers")) << object["metadata"].dump();
  EXPECT_EQ(object["status"]["disks"].size(), 2U);
  EXPECT_EQ(object["status"]["targetVmName"], "web");
}

TEST_F(ImportOnClusterTest, AQuotaOnClaimsIsWaitedFor) {
  quota("claims", {{"persistentvolumeclaims", "1"}});
  create_import();
  ASSERT_TRUE(comes_to("Processing", {"True/Pending", "exceeded quota", "[VMF-K8S-QUOTA]"}));
  EXPECT_EQ(count("pods"), 0U) << "all claims come before the first holder";
  remove(path("resourcequotas", ns_, "claims"));
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AQuotaOnPodsIsWaitedFor) {
  quota("pods", {{"pods", "0"}});
  create_import();
  ASSERT_TRUE(comes_to("Processing", {"holder pod", "exceeded quota", "[VMF-K8S-QUOTA]"}));
  remove(path("resourcequotas", ns_, "pods"));
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, APolicyThatRefusesTheHolderIsWaitedFor) {
  refuse("", "pods", "no pods of strangers");
  wait_until_refused(path("pods", ns_), any_pod(), "no pods of strangers");
  create_import();
  ASSERT_TRUE(comes_to("Processing",
                       {"holder pod", "no pods of strangers", "[VMF-K8S-WEBHOOK]", "policy"}));
  allow_again();
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, APodSecurityLevelThatRefusesTheHolderIsWaitedFor) {
  // No holder is refused by "restricted"; a namespace that may not be used at all is another thing.
  bed_->try_request(
      "PATCH", "/api/v1/namespaces/" + ns_,
      {{"metadata", {{"labels", {{"pod-security.kubernetes.io/enforce", "restricted"}}}}}},
      "application/merge-patch+json");
  create_import();
  EXPECT_TRUE(succeeds()) << "holders meet the strictest level";
}

TEST_F(ImportOnClusterTest, APolicyThatRefusesTheVmStopsItBeforeAnythingIsCopied) {
  refuse("kubevirt.io", "virtualmachines", "not on Fridays");
  wait_until_refused(vms_path(), any_vm(), "not on Fridays");
  create_import();
  ASSERT_TRUE(comes_to("Processing", {"True/Pending", "not on Fridays", "[VMF-K8S-WEBHOOK]"}));
  EXPECT_EQ(count("persistentvolumeclaims"), 0U);
  EXPECT_THAT(events(), Contains(Key("VMCreationFailed")));
  EXPECT_GE(events()["VMCreationFailed"]["count"], 1);
  allow_again();
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AMissingClassBlocksUntilItIsThere) {
  const std::string later = "later-" + ns_;
  create_import(json::parse(R"({"source": {"vmware": {"mappings": {"storageMappings": [
      {"source": {"id": "datastore-1"}, "target": {"name": ")" +
                            later + R"("}}]}}}})"));
  ASSERT_TRUE(comes_to("Valid", {"False/", later}));
  EXPECT_THAT(events(), Contains(Key("ImportBlocked")));
  storage_class(later);
  EXPECT_TRUE(succeeds());
  bed_->request("DELETE", "/apis/storage.k8s.io/v1/storageclasses/" + later);
}

TEST_F(ImportOnClusterTest, WithoutADefaultClassTheImportWaitsForOne) {
  create_import(json::parse(R"({"source": {"vmware": {"mappings": {"storageMappings": [
      {"source": {"id": "datastore-1"}, "target": {"name": ""}}]}}}})"));
  ASSERT_TRUE(comes_to("Valid", {"False/", "default", "is-default-class"}));
  storage_class("default-" + ns_, true);
  EXPECT_TRUE(succeeds());
  bed_->request("DELETE", "/apis/storage.k8s.io/v1/storageclasses/default-" + ns_);
}

TEST_F(ImportOnClusterTest, AForeignVmOfTheNameBlocksAndIsLeftAlone) {
  const json foreign = bed_->request("POST", vms_path(), any_vm());
  create_import();
  ASSERT_TRUE(comes_to("Valid", {"False/DuplicateTargetVMName", "spec.targetVmName"}));
  EXPECT_EQ(bed_->request("GET", vms_path("web"))["metadata"]["resourceVersion"],
            foreign["metadata"]["resourceVersion"]);
  remove(vms_path("web"));
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AForeignClaimOfTheNameIsWaitedForAndLeftAlone) {
  create_import();
  bed_->request("POST", path("persistentvolumeclaims", ns_),
                {{"metadata", {{"name", claim("203")}}},
                 {"spec",
                  {{"accessModes", {"ReadWriteOnce"}},
                   {"storageClassName", "none"},
                   {"resources", {{"requests", {{"storage", "1Gi"}}}}}}}});
  ASSERT_TRUE(comes_to("Processing", {"True/Pending", claim("203"), "[VMF-DST-NAME-TAKEN]"}));
  EXPECT_FALSE(
      bed_->request("GET", path("persistentvolumeclaims", ns_, claim("203")))["metadata"].contains(
          "ownerReferences"));
  bed_->request("DELETE", path("persistentvolumeclaims", ns_, claim("203")));
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AForeignPodOfTheHoldersNameIsWaitedForAndLeftAlone) {
  create_import();
  json pod = any_pod();
  pod["metadata"]["name"] = "vmferry-hold-" + claim("203");
  bed_->request("POST", path("pods", ns_), pod);
  ASSERT_TRUE(comes_to("Processing", {"belongs to somebody else", "[VMF-DST-NAME-TAKEN]"}));
  bed_->request("DELETE", path("pods", ns_, "vmferry-hold-" + claim("203")));
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AVolumeThatIsTooSmallIsWaitedForUntilItIsExpanded) {
  quota("pods", {{"pods", "0"}});  // holds it until the volume is as the test wants it
  create_import();
  ASSERT_TRUE(comes_to("Processing", {"[VMF-K8S-QUOTA]"}));
  const std::string small = path("persistentvolumeclaims", ns_, claim("203"));
  ASSERT_TRUE(kube::eventually([&] {
    play_nodes();
    return bed_->request("GET", small)["status"].value("phase", "") == "Bound";
  }));
  const auto capacity = [&](const std::string& size) {
    const auto [status, answer] = bed_->try_request(
        "PATCH", small + "/status", {{"status", {{"capacity", {{"storage", size}}}}}},
        "application/merge-patch+json");
    ASSERT_EQ(status, 200) << answer.dump();
  };
  capacity("1Mi");
  remove(path("resourcequotas", ns_, "pods"));
  ASSERT_TRUE(comes_to("Processing", {"got a volume of 1.0 MiB", "[VMF-DST-TOO-SMALL]", "expand"}));
  capacity("4Gi");
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AClockThatIsBehindIsToldAndWaitedFor) {
  source_.lock()->unreachable = coded_error(
      ErrorKind::PermissionDenied, code::kSourceTls,
      "https://vcenter.invalid/sdk: SSL certificate problem: certificate is not yet valid");
  create_import();
  ASSERT_TRUE(comes_to("Valid", {"False/UnreachableProvider", "not yet valid", "clocks"}));
  EXPECT_EQ(condition("Succeeded"), "") << "not the end";
  source_.lock()->unreachable.reset();
  EXPECT_TRUE(succeeds());
}

TEST_F(ImportOnClusterTest, AnExpiredTokenOfOursStopsNothingForGood) {
  const std::string file = state_ + "/token";
  const auto write = [&](const std::string& token) {
    std::ofstream(file + ".new") << token;
    std::filesystem::rename(file + ".new", file);
  };
  bed_->request(
      "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
      {{"metadata", {{"name", "bench-" + ns_}}},
       {"roleRef",
        {{"apiGroup", "rbac.authorization.k8s.io"},
         {"kind", "ClusterRole"},
         {"name", "cluster-admin"}}},
       {"subjects", {{{"kind", "ServiceAccount"}, {"name", "default"}, {"namespace", ours_}}}}});
  write("eyJhbGciOiJSUzI1NiJ9.e30.expired");
  kube::Access access;
  access.server = bed_->url();
  access.trust.ca_pem = bed_->ca_pem();
  access.credentials = std::make_shared<kube::TokenFile>(file, kube::Credential{}, clock_);
  kube::Cluster with_file(std::move(access), {}, clock_, log_);
  start_reconciler(with_file);
  create_import();
  ASSERT_TRUE(kube::eventually([&] {
    pass();
    return last_error_.find("VMF-K8S-CREDENTIALS") != std::string::npos;
  })) << last_error_;
  write(bed_->token(ours_, "default"));
  EXPECT_TRUE(succeeds());
  start_reconciler(*cluster_);
  bed_->request("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bench-" + ns_);
}

TEST_F(ImportOnClusterTest, ARightThatWeLackIsToldInTheImport) {
  // As `default` of our namespace, which may do all that comes before it looks at storage classes.
  bed_->request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                {{"metadata", {{"name", "imports-" + ns_}}},
                 {"rules",
                  {{{"apiGroups", {"v2v.kubevirt.io"}}, {"resources", {"*"}}, {"verbs", {"*"}}},
                   {{"apiGroups", {""}},
                    {"resources", {"secrets", "configmaps", "events"}},
                    {"verbs", {"*"}}}}}});
  bed_->request(
      "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
      {{"metadata", {{"name", "imports-" + ns_}}},
       {"roleRef",
        {{"apiGroup", "rbac.authorization.k8s.io"},
         {"kind", "ClusterRole"},
         {"name", "imports-" + ns_}}},
       {"subjects", {{{"kind", "ServiceAccount"}, {"name", "default"}, {"namespace", ours_}}}}});
  kube::Access access;
  access.server = bed_->url();
  access.trust.ca_pem = bed_->ca_pem();
  access.credentials = std::make_shared<kube::FixedCredentials>(
      kube::Credential{.authorization = SecretString("Bearer " + bed_->token(ours_, "default"))});
  kube::Cluster weak(std::move(access), {}, clock_, log_);
  start_reconciler(weak);
  create_import();
  EXPECT_TRUE(comes_to("Processing", {"Trying again", "storageclasses", "[VMF-K8S-FORBIDDEN]"}));
  start_reconciler(*cluster_);
  EXPECT_TRUE(succeeds());
  bed_->request("DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/imports-" + ns_);
}

TEST_F(ImportOnClusterTest, TheSameEventAgainIsCountedNotRepeated) {
  create_import({{"providerCredentialsSecret", {{"name", "vcenter"}, {"namespace", "elsewhere"}}}});
  for (int i = 0; i < 3; ++i) pass();
  const json all = bed_->request("GET", path("events", ns_));
  int seen = 0;
  for (const json& event : all["items"]) seen += event["reason"] == "ImportBlocked" ? 1 : 0;
  EXPECT_EQ(seen, 1);
  const json event = events().at("ImportBlocked");
  EXPECT_EQ(event["count"], 3);
  EXPECT_EQ(event["type"], "Warning");
  EXPECT_EQ(event["source"]["component"], "virtualmachineimport-controller");
  EXPECT_EQ(event["involvedObject"]["kind"], "VirtualMachineImport");
}

}  // namespace
}  // namespace vmferry::imports
