#include "tests/coordinator/imports/cluster_bench.h"

// References into other namespaces, on the real API server with its real RBAC.
namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ReferencesTest : public ClusterBench {
 protected:
  void SetUp() override {
    ClusterBench::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    other_ = bed_->make_namespace("other");
  }
  // What the condition's remedy says, done by the owner of the other namespace.
  void grant(const std::string& group, const std::string& resource, const std::string& name) {
    const std::string rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" + other_;
    bed_->request("POST", rbac + "/roles",
                  {{"metadata", {{"name", "import-" + name}}},
                   {"rules",
                    {{{"apiGroups", {group}},
                      {"resources", {resource}},
                      {"resourceNames", {name}},
                      {"verbs", {"get"}}}}}});
    bed_->request(
        "POST", rbac + "/rolebindings",
        {{"metadata", {{"name", "import-" + name}}},
         {"roleRef",
          {{"apiGroup", "rbac.authorization.k8s.io"},
           {"kind", "Role"},
           {"name", "import-" + name}}},
         {"subjects",
          {{{"kind", "ServiceAccount"}, {"name", "vmferry-import"}, {"namespace", ns_}}}}});
  }
  json names(const std::string& name) const { return {{"name", name}, {"namespace", other_}}; }

  std::string other_;
};

TEST_F(ReferencesTest, Api42AndAdm4ASecretElsewhereIsForWhoMayReadIt) {
  secret(other_, "vcenter-there");
  create_import({{"providerCredentialsSecret", names("vcenter-there")}});
  ASSERT_TRUE(comes_to("Valid", {"False/UninitializedProvider", other_ + "/vcenter-there",
                                 "may not read it", "vmferry-import", "--resource=secrets"}));
  EXPECT_EQ(condition("Succeeded"), "") << "not the end";
  EXPECT_EQ(import()["metadata"]
                .value("annotations", json::object())
                .count("vmimport.v2v.kubevirt.io/progress"),
            0U);
  grant("", "secrets", "vcenter-there");
  EXPECT_TRUE(succeeds());
}

TEST_F(ReferencesTest, Api42TheRightToAnotherSecretIsNoRightToThisOne) {
  secret(other_, "vcenter-there");
  secret(other_, "another");
  grant("", "secrets", "another");
  create_import({{"providerCredentialsSecret", names("vcenter-there")}});
  EXPECT_TRUE(comes_to("Valid", {"False/UninitializedProvider", "may not read it"}));
}

TEST_F(ReferencesTest, Adm5AResourceMappingElsewhereIsForWhoMayReadIt) {
  const json own = import_spec()["source"]["vmware"]["mappings"];
  bed_->request("POST", "/apis/v2v.kubevirt.io/v1beta1/namespaces/" + other_ + "/resourcemappings",
                {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                 {"kind", "ResourceMapping"},
                 {"metadata", {{"name", "common"}}},
                 {"spec", {{"vmware", own}}}});
  create_import(
      {{"resourceMapping", names("common")}, {"source", {{"vmware", {{"mappings", nullptr}}}}}});
  ASSERT_TRUE(comes_to("Valid", {"False/", other_ + "/common", "may not read it",
                                 "--resource=resourcemappings.v2v.kubevirt.io"}));
  grant("v2v.kubevirt.io", "resourcemappings", "common");
  EXPECT_TRUE(succeeds());
}

TEST_F(ReferencesTest, ANetworkElsewhereIsForWhoMayReadItsDefinition) {
  bed_->request("POST",
                "/apis/k8s.cni.cncf.io/v1/namespaces/" + other_ + "/network-attachment-definitions",
                {{"apiVersion", "k8s.cni.cncf.io/v1"},
                 {"kind", "NetworkAttachmentDefinition"},
                 {"metadata", {{"name", "lan"}}},
                 {"spec", {{"config", R"({"cniVersion": "0.3.1", "type": "bridge"})"}}}});
  const json networks{
      {{"source", {{"id", "network-7"}}}, {"target", names("lan")}, {"type", "multus"}}};
  create_import({{"source", {{"vmware", {{"mappings", {{"networkMappings", networks}}}}}}}});
  ASSERT_TRUE(comes_to("MappingRulesVerified",
                       {"False/", other_ + "/lan", "may not read it", "vmferry-import",
                        "--resource=network-attachment-definitions.k8s.cni.cncf.io"}));
  EXPECT_EQ(condition("Succeeded"), "") << "not the end";
  grant("k8s.cni.cncf.io", "network-attachment-definitions", "lan");
  EXPECT_TRUE(succeeds());
}

TEST_F(ReferencesTest, ANetworkThatAMappingElsewhereNamesIsReviewedToo) {
  json own = import_spec()["source"]["vmware"]["mappings"];
  own["networkMappings"] = {
      {{"source", {{"id", "network-7"}}}, {"target", names("none-of-it")}, {"type", "multus"}}};
  bed_->request("POST", "/apis/v2v.kubevirt.io/v1beta1/namespaces/" + ns_ + "/resourcemappings",
                {{"apiVersion", "v2v.kubevirt.io/v1beta1"},
                 {"kind", "ResourceMapping"},
                 {"metadata", {{"name", "common"}}},
                 {"spec", {{"vmware", own}}}});
  create_import({{"resourceMapping", {{"name", "common"}}},
                 {"source", {{"vmware", {{"mappings", nullptr}}}}}});
  ASSERT_TRUE(comes_to("MappingRulesVerified", {"False/", other_ + "/none-of-it", "may not read"}));
  // Whether it exists is told only to who may know.
  EXPECT_THAT(condition("MappingRulesVerified"), ::testing::Not(HasSubstr("does not exist")));
  grant("k8s.cni.cncf.io", "network-attachment-definitions", "none-of-it");
  EXPECT_TRUE(comes_to("MappingRulesVerified", {"False/", "does not exist"}));
}

TEST_F(ReferencesTest, OnesOwnNamespaceNeedsNoReview) {
  create_import({{"providerCredentialsSecret", {{"name", "vcenter"}, {"namespace", ns_}}}});
  EXPECT_TRUE(succeeds());
}

TEST_F(ReferencesTest, AnAnswerIsRememberedAndARefusalShorter) {
  FakeClock clock;
  access::SubjectAccessReviews reviews(cluster_->writer(), clock);
  const auto may = [&] {
    const auto answer = reviews.may_read(ns_, kube::types::kSecret, {other_, "s"}, {});
    EXPECT_TRUE(answer.ok()) << to_string(answer.error());
    return answer.ok() && *answer;
  };
  EXPECT_FALSE(may());
  grant("", "secrets", "s");
  EXPECT_FALSE(may()) << "remembered";
  EXPECT_TRUE(kube::eventually([&] {  // the server's own cache follows, too
    clock.advance(access::SubjectAccessReviews::kRememberNo);
    return may();
  }));
  bed_->request("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/" + other_ +
                              "/rolebindings/import-s");
  EXPECT_TRUE(may()) << "remembered";
  EXPECT_TRUE(kube::eventually([&] {
    clock.advance(access::SubjectAccessReviews::kRememberYes);
    return !may();
  }));
}

}  // namespace
}  // namespace vmferry::imports
