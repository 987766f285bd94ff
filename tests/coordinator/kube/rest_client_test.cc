#include "coordinator/kube/rest/rest_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/kube/rest/watch.h"
#include "tests/coordinator/kube/fake_api_server.h"

namespace vmferry::kube {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using types::kConfigMap;

json config_map(const std::string& name, const std::string& version = "5") {
  return {{"metadata",
           {{"name", name},
            {"namespace", "n"},
            {"resourceVersion", version},
            {"managedFields", json::array({{{"manager", "x"}}})}}}};
}

json event(const char* type, const json& object) { return {{"type", type}, {"object", object}}; }

class RestAnswersTest : public ::testing::Test {
 protected:
  void serve(FakeApiServer::Handler handler) {
    server_ = std::make_unique<FakeApiServer>(std::move(handler));
    cluster_ = std::make_unique<Cluster>(server_->access(), ApiClient::Options{}, clock_, Logger());
  }
  Reader& reader() { return cluster_->reader(); }
  Writer& writer() { return cluster_->writer(); }

  FakeClock clock_;  // waits take no time
  std::unique_ptr<FakeApiServer> server_;
  std::unique_ptr<Cluster> cluster_;
};

TEST_F(RestAnswersTest, WaitsAsLongAsTheServerAsks) {
  serve([](const auto&, auto& response, int number) {
    if (number == 3) return answer(response, 200, config_map("a"));
    response.set_header("Retry-After", "7");
    answer(response, number == 1 ? 429 : 503, status_body(429, "TooManyRequests", "slow down"));
  });
  const SteadyTime begin = clock_.steady();
  const auto object = reader().get(kConfigMap, {"n", "a"}, {});
  ASSERT_TRUE(object.ok()) << to_string(object.error());
  EXPECT_FALSE(object->json()["metadata"].contains("managedFields"));
  EXPECT_EQ(clock_.steady() - begin, std::chrono::seconds(14));
  EXPECT_THAT(server_->asked(), SizeIs(3));
}

TEST_F(RestAnswersTest, ReadsTheDelayFromTheStatusToo) {
  serve([](const auto&, auto& response, int number) {
    if (number == 2) return answer(response, 200, config_map("a"));
    json status = status_body(429, "TooManyRequests", "slow down");
    status["details"]["retryAfterSeconds"] = 3;
    answer(response, 429, status);
  });
  const SteadyTime begin = clock_.steady();
  EXPECT_TRUE(reader().get(kConfigMap, {"n", "a"}, {}).ok());
  EXPECT_EQ(clock_.steady() - begin, std::chrono::seconds(3));
}

TEST_F(RestAnswersTest, GivesUpThrottlingWithinItsDeadline) {
  serve([](const auto&, auto& response, int) {
    response.set_header("Retry-After", "20");
    answer(response, 429, status_body(429, "TooManyRequests", "slow down"));
  });
  const auto object = reader().get(kConfigMap, {"n", "a"}, {});
  ASSERT_FALSE(object.ok());
  EXPECT_EQ(object.error().kind(), ErrorKind::Unavailable);
  EXPECT_THAT(server_->asked(), SizeIs(2));  // 30 s hold one wait of 20 s
}

TEST_F(RestAnswersTest, DoesNotRepeatARefusalNorAnUnclearFailureOfAWrite) {
  std::atomic<int> status = 500;
  serve([&](const auto&, auto& response, int) {
    answer(response, status, status_body(status, "InternalError", "etcd is away"));
  });
  for (const int code : {500, 502, 504, 403, 422, 409}) {
    status = code;
    const std::size_t before = server_->asked().size();
    EXPECT_FALSE(writer().create(kConfigMap, Object(config_map("a")), {}, {}).ok());
    EXPECT_EQ(server_->asked().size(), before + 1) << code;
  }
}

TEST_F(RestAnswersTest, ListsAgainInOnePieceWhenTheListingExpires) {
  serve([](const auto& request, auto& response, int number) {
    if (number == 1) {
      return answer(response, 200,
                    {{"metadata", {{"resourceVersion", "9"}, {"continue", "next page"}}},
                     {"items", json::array({config_map("gone")})}});
    }
    if (number == 2) {
      EXPECT_EQ(request.get_param_value("continue"), "next page");
      return answer(response, 410, status_body(410, "Expired", "The provided continue is too old"));
    }
    EXPECT_FALSE(request.has_param("limit"));
    EXPECT_FALSE(request.has_param("continue"));
    answer(response, 200,
           {{"metadata", {{"resourceVersion", "12"}}},
            {"items", json::array({config_map("a"), config_map("b")})}});
  });
  const auto list = reader().list(kConfigMap, {.ns = "n", .label_selector = "x=y"}, {});
  ASSERT_TRUE(list.ok()) << to_string(list.error());
  EXPECT_THAT(list->items, SizeIs(2));
  EXPECT_EQ(list->items[0].kind(), "ConfigMap");
  EXPECT_EQ(list->resource_version, "12");
  EXPECT_EQ(server_->asked()[0],
            "GET /api/v1/namespaces/n/configmaps?labelSelector=x%3Dy&limit=500");
}

TEST_F(RestAnswersTest, AnswersThatAreNoJsonAreTold) {
  serve([](const auto&, auto& response, int number) {
    response.set_content(number == 1 ? "<html>login</html>" : "[1, 2", "text/html");
  });
  for (int i = 0; i < 2; ++i) {
    const auto object = reader().get(kConfigMap, {"n", "a"}, {});
    ASSERT_FALSE(object.ok());
    EXPECT_EQ(object.error().kind(), ErrorKind::Unavailable);
    EXPECT_THAT(object.error().message(), HasSubstr("is no JSON object"));
  }
}

TEST_F(RestAnswersTest, BoundsAnswers) {
  serve([](const auto&, auto& response, int) {
    response.set_content(std::string(2 << 20, ' '), "application/json");
  });
  ApiRequest request;
  request.path = "/api/v1/x";
  request.max_response_bytes = 1 << 20;
  EXPECT_EQ(cluster_->api().call(request, {}).error().kind(), ErrorKind::ResourceExhausted);
}

TEST_F(RestAnswersTest, WritesOnlyWhatBelongsToTheirHalfOfAnObject) {
  serve([](const auto&, auto& response, int) { answer(response, 200, config_map("a")); });
  const json patch{{"metadata", {{"resourceVersion", "4"}, {"labels", {{"a", "b"}}}}},
                   {"spec", 1},
                   {"status", {{"x", 1}}}};
  ASSERT_TRUE(writer().patch(kConfigMap, {"n", "a"}, patch, {.dry_run = true}, {}).ok());
  ASSERT_TRUE(writer().patch_status(kConfigMap, {"n", "a"}, patch, {}).ok());
  ASSERT_TRUE(writer()
                  .remove(kConfigMap, {"n", "a"}, Propagation::Foreground,
                          {.uid = "u", .resource_version = ""}, {})
                  .ok());
  EXPECT_THAT(server_->asked(),
              ElementsAre("PATCH /api/v1/namespaces/n/configmaps/a?fieldManager=vmferry&dryRun=All",
                          "PATCH /api/v1/namespaces/n/configmaps/a/status?fieldManager=vmferry",
                          "DELETE /api/v1/namespaces/n/configmaps/a"));
  const std::vector<std::string> bodies = server_->bodies();
  EXPECT_FALSE(json::parse(bodies[0]).contains("status"));
  EXPECT_EQ(json::parse(bodies[1]),
            (json{{"status", {{"x", 1}}}, {"metadata", {{"resourceVersion", "4"}}}}));
  EXPECT_EQ(json::parse(bodies[2])["propagationPolicy"], "Foreground");
  EXPECT_EQ(json::parse(bodies[2])["preconditions"], (json{{"uid", "u"}}));
}

TEST_F(RestAnswersTest, ANameCannotLeaveItsPath) {
  serve([](const auto&, auto& response, int) { answer(response, 200, config_map("a")); });
  ASSERT_TRUE(reader().get(kConfigMap, {"n", "../secrets?x=1"}, {}).ok());
  EXPECT_THAT(server_->asked(),
              ElementsAre("GET /api/v1/namespaces/n/configmaps/..%2Fsecrets%3Fx%3D1"));
  EXPECT_EQ(reader().get(kConfigMap, {"n", ".."}, {}).error().kind(), ErrorKind::InvalidArgument);
  EXPECT_EQ(reader().list(kConfigMap, {.ns = "..", .label_selector = ""}, {}).error().kind(),
            ErrorKind::InvalidArgument);
}

TEST_F(RestAnswersTest, AWatchContinuesFromTheLastBookmark) {
  serve([](const auto& request, auto& response, int number) {
    if (number == 1) {
      EXPECT_EQ(request.get_param_value("resourceVersion"), "3");
      EXPECT_EQ(request.get_param_value("allowWatchBookmarks"), "true");
      const std::string lines = event("ADDED", config_map("a", "4")).dump() + "\n" +
                                event("BOOKMARK", config_map("", "8")).dump() + "\n";
      response.set_content(lines, "application/json");
    } else if (number == 2) {
      EXPECT_EQ(request.get_param_value("resourceVersion"), "8");
      response.status = 503;  // one try while it restarts
    } else {
      EXPECT_EQ(request.get_param_value("resourceVersion"), "8");
      response.set_content(event("DELETED", config_map("a", "9")).dump() + "\n",
                           "application/json");
    }
  });
  auto watch = reader().watch(kConfigMap, {.ns = "n", .label_selector = ""}, "3", {});
  ASSERT_TRUE(watch.ok()) << to_string(watch.error());
  std::string seen;
  for (int i = 0; i < 3; ++i) {
    const auto next = (*watch)->next(std::chrono::minutes(1), {});
    ASSERT_TRUE(next.ok() && *next);
    seen += "+~-b"[static_cast<int>((*next)->type)];
  }
  EXPECT_EQ(seen, "+b-");
}

TEST_F(RestAnswersTest, AnExpiredVersionIsAborted) {
  std::atomic<int> form = 0;
  serve([&](const auto&, auto& response, int) {
    const json status =
        status_body(410, form == 0 ? "Expired" : "Gone", "too old resource version");
    if (form == 2) return answer(response, 410, status);
    response.set_content(event("ERROR", status).dump() + "\n", "application/json");
  });
  for (form = 0; form < 3; ++form) {
    auto watch = reader().watch(kConfigMap, {.ns = "n", .label_selector = ""}, "3", {});
    ASSERT_TRUE(watch.ok());
    const auto next = (*watch)->next(std::chrono::minutes(1), {});
    ASSERT_FALSE(next.ok()) << form;
    EXPECT_EQ(next.error().kind(), ErrorKind::Aborted) << form;
  }
}

TEST_F(RestAnswersTest, AWatchOfWhatIsNotThereSaysSoAtOnce) {
  std::atomic<int> status = 404;
  serve([&](const auto&, auto& response, int) {
    answer(response, status, status_body(status, "", "no"));
  });
  EXPECT_EQ(reader().watch(kConfigMap, {}, "3", {}).error().kind(), ErrorKind::NotFound);
  status = 403;
  EXPECT_EQ(reader().watch(kConfigMap, {}, "3", {}).error().kind(), ErrorKind::PermissionDenied);
}

TEST_F(RestAnswersTest, AWatchGivesUpAfterAMinuteWithoutServer) {
  serve([](const auto&, auto& response, int) { response.status = 503; });
  auto watch = reader().watch(kConfigMap, {}, "3", {});
  ASSERT_TRUE(watch.ok());
  const auto next = (*watch)->next(std::chrono::minutes(10), {});
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().kind(), ErrorKind::Unavailable);
}

TEST_F(RestAnswersTest, GarbageInAWatchMakesItConnectAgain) {
  serve([](const auto&, auto& response, int number) {
    const char* const bad[] = {"", "{\"type\":1,\"object\":{}}\n", "[]\n",
                               "{\"type\":\"ADDED\"}\n"};
    response.set_content(
        number < 4 ? bad[number] : event("ADDED", config_map("a", "9")).dump() + "\n",
        "application/json");
  });
  auto watch = reader().watch(kConfigMap, {}, "3", {});
  ASSERT_TRUE(watch.ok());
  const auto next = (*watch)->next(std::chrono::minutes(1), {});
  ASSERT_TRUE(next.ok() && *next);
  EXPECT_EQ((*next)->object.name(), "a");
}

TEST(LineSplitterTest, PutsLinesTogether) {
  LineSplitter splitter;
  EXPECT_THAT(*splitter.feed("ab"), ElementsAre());
  EXPECT_THAT(*splitter.feed("c\n\nd\ne"), ElementsAre("abc", "d"));
  EXPECT_THAT(*splitter.feed("\n"), ElementsAre("e"));
  EXPECT_EQ(splitter.feed(std::string(40 << 20, 'x')).error().kind(), ErrorKind::ResourceExhausted);
}

TEST(RequestLimitTest, SpreadsRequestsAfterTheBurst) {
  const FakeClock clock;
  RequestLimit limit(10, 3, clock);
  const SteadyTime begin = clock.steady();
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(limit.take(begin + std::chrono::seconds(60), {}).ok());
  }
  const Seconds passed = clock.steady() - begin;
  EXPECT_NEAR(passed.count(), 0.5, 0.05);
  EXPECT_EQ(limit.take(clock.steady(), {}).error().kind(), ErrorKind::DeadlineExceeded);
}

}  // namespace
}  // namespace vmferry::kube
