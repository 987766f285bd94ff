#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "common/catalogue.h"
#include "coordinator/kube/cached_reader.h"
#include "coordinator/kube/events.h"
#include "coordinator/kube/server_types.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/kube/kube_test_support.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using types::kConfigMap;

class RestClientTest : public KubeTest {
 protected:
  // A cluster as a service account sees it, by a token file.
  std::unique_ptr<Cluster> cluster_with_token_file(const std::string& path) {
    Access access;
    access.server = bed_->url();
    access.trust.ca_pem = bed_->ca_pem();
    access.credentials = std::make_shared<TokenFile>(path, Credential{}, clock_);
    return std::make_unique<Cluster>(std::move(access), ApiClient::Options{}, clock_, Logger());
  }
  void allow(const std::string& account, const std::string& resource) {
    bed_->request(
        "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/" + ns_ + "/roles",
        {{"metadata", {{"name", account}}},
         {"rules", {{{"apiGroups", {""}}, {"resources", {resource}}, {"verbs", {"*"}}}}}});
    bed_->request(
        "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/" + ns_ + "/rolebindings",
        {{"metadata", {{"name", account}}},
         {"roleRef",
          {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "Role"}, {"name", account}}},
         {"subjects", {{{"kind", "ServiceAccount"}, {"name", account}, {"namespace", ns_}}}}});
  }
  static bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 600; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
  // The name of the next object that is added.
  static std::string next_added(Watch& watch) {
    while (true) {
      const auto event = watch.next(std::chrono::seconds(40), {});
      if (!event) return to_string(event.error());
      if (!*event) return "nothing";
      if ((*event)->type == EventType::Added) return (*event)->object.name();
    }
  }

  embedded::TempDir dir_;
};

TEST_F(RestClientTest, ListsInPages) {
  for (int i = 0; i < 7; ++i) make(kConfigMap, config_map("c" + std::to_string(i)));
  cluster_->client().set_page_size(2);
  const auto list = cluster_->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(list.ok()) << to_string(list.error());
  std::set<std::string> names;
  for (const Object& object : list->items) names.insert(object.name());
  EXPECT_EQ(names.size(), list->items.size());
  EXPECT_EQ(names.size(), 8U);  // with the cluster's certificate authority
}

TEST_F(RestClientTest, ATokenThatRotatesIsTakenUp) {
  allow("default", "configmaps");
  const std::string path = dir_.path("token");
  std::ofstream(path) << "stale.but.printable";
  const auto own = cluster_with_token_file(path);
  const auto refused = own->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kind(), ErrorKind::PermissionDenied);
  EXPECT_EQ(refused.error().code(), code::kClusterCredentials);
  std::ofstream(path) << bed_->token(ns_, "default");
  // No minute's wait: the refusal makes it look again.
  EXPECT_TRUE(own->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {}).ok());
}

TEST_F(RestClientTest, AnExecPluginsTokenWorks) {
  allow("default", "configmaps");
  const std::string plugin = dir_.path("login");
  std::ofstream(plugin) << "#!/bin/sh\necho '{\"apiVersion\": "
                           "\"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", "
                           "\"status\": {\"token\": \"" +
                               bed_->token(ns_, "default") + "\"}}'\n";
  ASSERT_EQ(::chmod(plugin.c_str(), 0700), 0);
  const json config{
      {"current-context", "c"},
      {"clusters",
       {{{"name", "k"},
         {"cluster",
          {{"server", bed_->url()},
           {"certificate-authority-data", base64_encode(bed_->ca_pem())}}}}}},
      {"users",
       {{{"name", "u"},
         {"user",
          {{"exec",
            {{"apiVersion", "client.authentication.k8s.io/v1"}, {"command", "./login"}}}}}}}},
      {"contexts", {{{"name", "c"}, {"context", {{"cluster", "k"}, {"user", "u"}}}}}}};
  std::ofstream(dir_.path("config")) << config.dump();
  const auto own = open_cluster(dir_.path("config"), clock_);
  ASSERT_NE(own, nullptr);
  EXPECT_TRUE(own->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {}).ok());
  const auto forbidden = own->reader().list(types::kSecret, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_FALSE(forbidden.ok());
  EXPECT_EQ(forbidden.error().kind(), ErrorKind::PermissionDenied);
  EXPECT_EQ(forbidden.error().code(), code::kForbidden);
  EXPECT_THAT(forbidden.error().message(), HasSubstr("cannot list resource \"secrets\""));
}

TEST_F(RestClientTest, AServerOfAnotherAuthorityIsNotTrusted) {
  Access access;
  access.server = bed_->url();  // the system's authorities do not know it
  access.credentials = std::make_shared<FixedCredentials>(Credential{});
  Cluster stranger(std::move(access), {}, clock_, Logger());
  const auto version = stranger.discovery().server_version({});
  ASSERT_FALSE(version.ok());
  EXPECT_EQ(version.error().code(), code::kClusterTls);
}

TEST_F(RestClientTest, TellsAQuotaThatIsUsedUp) {
  make(types::kResourceQuota,
       Object(json{{"metadata", {{"name", "q"}, {"namespace", ns_}}},
                   {"spec", {{"hard", {{"persistentvolumeclaims", "0"}}}}}}));
  const Object claim(json{
      {"metadata", {{"name", "c"}, {"namespace", ns_}}},
      {"spec",
       {{"accessModes", {"ReadWriteOnce"}}, {"resources", {{"requests", {{"storage", "1Gi"}}}}}}}});
  Result<Object> refused = make_error(ErrorKind::Internal, "");
  // Until the quota's first count anything is refused as unknown.
  EXPECT_TRUE(eventually([&] {
    refused = cluster_->writer().create(types::kPersistentVolumeClaim, claim, {}, {});
    return !refused.ok() && refused.error().kind() == ErrorKind::ResourceExhausted;
  })) << (refused.ok() ? "created" : to_string(refused.error()));
  EXPECT_EQ(refused.error().code(), code::kQuota);
}

TEST_F(RestClientTest, AnswersOfReviewsHaveTheirStatus) {
  const auto token = cluster_->writer().create(
      types::kTokenReview,
      Object(json{
          {"spec",
           {{"token", bed_->token(ns_, "default", {"vmferry"})}, {"audiences", {"vmferry"}}}}}),
      {}, {});
  ASSERT_TRUE(token.ok()) << to_string(token.error());
  EXPECT_EQ(token->json()["status"]["authenticated"], true);
  EXPECT_EQ(token->json()["status"]["user"]["username"],
            "system:serviceaccount:" + ns_ + ":default");
  const auto access = cluster_->writer().create(
      types::kSubjectAccessReview,
      Object(json{{"spec",
                   {{"user", "nobody"},
                    {"resourceAttributes",
                     {{"namespace", ns_}, {"verb", "get"}, {"resource", "secrets"}}}}}}),
      {}, {});
  ASSERT_TRUE(access.ok()) << to_string(access.error());
  EXPECT_EQ(access->json()["status"]["allowed"], false);
}

TEST_F(RestClientTest, DiscoversWhatAppearsLater) {
  const ResourceType later{"later.example.org/v1", "Later", "laters", true};
  const auto before = cluster_->discovery().serves(later, {});
  ASSERT_TRUE(before.ok()) << to_string(before.error());
  EXPECT_FALSE(*before);
  EXPECT_EQ(cluster_->reader().list(later, {.ns = ns_, .label_selector = ""}, {}).error().kind(),
            ErrorKind::NotFound);
  EXPECT_EQ(cluster_->discovery().require(later, {}).error().code(), code::kApiMissing);
  bed_->request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                {{"metadata", {{"name", "laters.later.example.org"}}},
                 {"spec",
                  {{"group", "later.example.org"},
                   {"scope", "Namespaced"},
                   {"names", {{"kind", "Later"}, {"plural", "laters"}}},
                   {"versions",
                    {{{"name", "v1"},
                      {"served", true},
                      {"storage", true},
                      {"schema", {{"openAPIV3Schema", {{"type", "object"}}}}}}}}}}});
  EXPECT_TRUE(eventually([&] {
    const auto now = cluster_->discovery().serves(later, {});
    return now.ok() && *now;
  }));
  const ResourceType newer{"later.example.org/v2", "Later", "laters", true};
  EXPECT_THAT(cluster_->discovery().require(newer, {}).error().message(), HasSubstr("it has v1"));
  EXPECT_THAT(*cluster_->discovery().server_version({}), HasSubstr("v1."));

  // Who writes is told as much.
  const Object object(json{{"metadata", {{"name", "x"}, {"namespace", ns_}}}});
  for (const auto& refused :
       {cluster_->writer().create(newer, object, {}, {}),
        cluster_->writer().patch(newer, object.key(), json::object(), {}, {})}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind(), ErrorKind::NotFound);
    EXPECT_EQ(refused.error().code(), code::kApiMissing);
    EXPECT_THAT(refused.error().message(),
                HasSubstr("does not serve laters in version v2; of later.example.org it has v1"));
  }
  const ResourceType unknown{"nobody.example.org/v1", "Nobody", "nobodies", true};
  EXPECT_THAT(cluster_->writer().create(unknown, object, {}, {}).error().message(),
              HasSubstr("does not serve nobodies (nobody.example.org/v1)"));
  ASSERT_TRUE(cluster_->writer().create(later, object, {}, {}));
}

// A server that has just started knows no history: when the watch's place lies before its first
// revision it asks for a new list, and only else does the watch go on. Nothing is lost either way.
TEST_F(RestClientTest, AWatchGoesOnOverARestartOfTheServerOrAsksForANewList) {
  const auto list = cluster_->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(list.ok());
  const auto watch = cluster_->reader().watch(kConfigMap, {.ns = ns_, .label_selector = ""},
                                              list->resource_version, {});
  ASSERT_TRUE(watch.ok()) << to_string(watch.error());
  make(kConfigMap, config_map("before"));
  EXPECT_EQ(next_added(**watch), "before");
  bed_->restart_apiserver();
  make(kConfigMap, config_map("after"));
  const std::string next = next_added(**watch);
  if (next == "after") return;
  EXPECT_TRUE(next.starts_with("Aborted")) << next;
  const auto again = cluster_->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(again.ok()) << to_string(again.error());
  EXPECT_TRUE(std::ranges::any_of(again->items,
                                  [](const Object& object) { return object.name() == "after"; }));
}

TEST_F(RestClientTest, ACompactionUnderAWatchAsksForANewList) {
  const auto list = cluster_->reader().list(kConfigMap, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(list.ok());
  const auto watch = cluster_->reader().watch(kConfigMap, {.ns = ns_, .label_selector = ""},
                                              list->resource_version, {});
  ASSERT_TRUE(watch.ok());
  bed_->stop_apiserver();
  bed_->start_apiserver();
  // Changes that the watch, still without a connection, has not seen; then their history goes.
  for (int i = 0; i < 5; ++i) make(kConfigMap, config_map("c" + std::to_string(i)));
  bed_->compact();
  bed_->restart_apiserver();
  while (true) {
    const auto event = (*watch)->next(std::chrono::seconds(40), {});
    if (event.ok()) {
      ASSERT_TRUE(event->has_value());
      continue;
    }
    EXPECT_EQ(event.error().kind(), ErrorKind::Aborted) << to_string(event.error());
    break;
  }
}

TEST_F(RestClientTest, AnInformerMissesNothingOverRestartsAndCompaction) {
  make(kConfigMap, config_map("first"));
  make(kConfigMap, config_map("doomed"));
  Guarded<std::set<std::string>> gone;
  Informer informer(cluster_->reader(), kConfigMap,
                    {[](const Object&) {}, [&](const Object& o) { gone.lock()->insert(o.name()); }},
                    clock_, Logger(), {.ns = ns_, .label_selector = ""});
  CachedReader cached(cluster_->reader());
  cached.add(informer);
  ASSERT_TRUE(eventually([&] { return informer.find({ns_, "doomed"}) != nullptr; }));
  EXPECT_EQ(cached.list(kConfigMap, {.ns = ns_, .label_selector = ""}, {})->items.size(), 3U);
  bed_->restart_apiserver();
  ASSERT_TRUE(
      cluster_->writer().remove(kConfigMap, {ns_, "doomed"}, Propagation::Background, {}, {}).ok());
  make(kConfigMap, config_map("second"));
  bed_->compact();
  bed_->restart_apiserver();
  make(kConfigMap, config_map("third"));
  EXPECT_TRUE(eventually([&] { return informer.find({ns_, "third"}) != nullptr; }));
  EXPECT_TRUE(eventually([&] { return informer.find({ns_, "second"}) != nullptr; }));
  EXPECT_TRUE(eventually([&] { return gone.lock()->contains("doomed"); }));
  EXPECT_EQ(cached.get(kConfigMap, {ns_, "doomed"}, {}).error().kind(), ErrorKind::NotFound);
  EXPECT_TRUE(cached.get(kConfigMap, {ns_, "third"}, {}).ok());
}

TEST_F(RestClientTest, RecordsEventsOnceWithACount) {
  const Object about = make(kConfigMap, config_map("a"));
  EventRecorder recorder(cluster_->reader(), cluster_->writer(), clock_, Logger());
  for (int i = 0; i < 3; ++i) recorder.record(about, EventSeverity::Normal, "Tried", "again", {});
  const auto events = cluster_->reader().list(types::kEvent, {.ns = ns_, .label_selector = ""}, {});
  ASSERT_TRUE(events.ok());
  ASSERT_EQ(events->items.size(), 1U);
  EXPECT_EQ(events->items[0].json()["count"], 3);
}

}  // namespace
}  // namespace vmferry::kube
