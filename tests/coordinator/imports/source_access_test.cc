// An import's account and its turn at its source.
#include <gmock/gmock.h>

#include "tests/coordinator/imports/step_fixture.h"

namespace vmferry::imports {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class SourceAccessTest : public StepFixture {
 protected:
  SourceAccessTest() {
    parts_->turns = &turns_;
    make(kube::types::kSecret,
         kube::Object(json{
             {"metadata", {{"name", "s"}, {"namespace", "n"}}},
             {"stringData",
              {{"vmware", std::string("apiUrl: ") + kUrl + "\nusername: u\npassword: p\n"}}}}));
  }
  void begins() {
    patch_import({{"metadata", {{"annotations", {{std::string(api::kProgress), "40"}}}}}});
  }
  void secret_is_gone() {
    ASSERT_TRUE(
        store_->remove(kube::types::kSecret, {"n", "s"}, kube::Propagation::Background, {}, {}));
  }
  // "provider", "wait" or the error.
  std::string obtain() {
    auto parsed = api::parse_import(*find("web", kube::types::kVirtualMachineImport));
    Pass pass(*parts_, *std::move(parsed), ledger_, memory_, {});
    const auto obtained = obtain_provider(pass);
    if (!obtained) return to_string(obtained.error());
    return *obtained ? "wait" : "provider";
  }
  // Somebody else is there.
  SourceTurns::Turn occupied() {
    return std::get<SourceTurns::Turn>(turns_.take(kUrl, "somebody"));
  }

  static constexpr const char* kUrl = "https://vcenter.invalid/sdk";
  SourceTurns turns_{{.per_source = 1, .at_silent = 8, .wake = {}}, clock_};
  Ledger ledger_;
};

TEST_F(SourceAccessTest, WhoWaitsForATurnReadsNoSecret) {
  for (const bool has_begun : {false, true}) {
    SCOPED_TRACE(has_begun);
    if (has_begun) begins();
    ASSERT_EQ(obtain(), "provider");
    reader_.secret_error = Error(ErrorKind::Unavailable, "it was read");
    {
      const auto turn = occupied();
      for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(obtain(), "wait");
        clock_.advance(std::chrono::seconds(25));
      }
      clock_.advance(std::chrono::minutes(2));
      EXPECT_THAT(obtain(), HasSubstr("it was read")) << "its address may have been corrected";
    }
    EXPECT_THAT(obtain(), HasSubstr("it was read")) << "with a turn it is read, as it is old";
    reader_.secret_error.reset();
    EXPECT_EQ(obtain(), "provider");
  }
}

TEST_F(SourceAccessTest, ASecretOfAnotherSourceTakesItsTurnThere) {
  ASSERT_EQ(obtain(), "provider");
  ASSERT_TRUE(store_->patch(
      kube::types::kSecret, {"n", "s"},
      {{"stringData",
        {{"vmware", "apiUrl: https://other.invalid/sdk\nusername: u\npassword: p\n"}}}},
      {}, {}));
  auto other = turns_.take("https://other.invalid", "somebody");
  ASSERT_TRUE(std::holds_alternative<SourceTurns::Turn>(other));
  EXPECT_EQ(obtain(), "wait");
  const auto first = turns_.take(kUrl, "somebody");
  EXPECT_TRUE(std::holds_alternative<SourceTurns::Turn>(first)) << "its turn here was given back";
}

// kubectl delete -f, and a namespace's end, take both.
TEST_F(SourceAccessTest, WithItsSecretGoneAnImportIsUndoneByWhatIsRemembered) {
  begins();
  ASSERT_EQ(obtain(), "provider");
  secret_is_gone();
  clock_.advance(std::chrono::minutes(1));
  EXPECT_THAT(obtain(), HasSubstr("does not exist")) << "one that goes on needs it";
  ledger_.failure_reason = "DataVolumeCreationFailed";
  EXPECT_EQ(obtain(), "provider") << "one that has failed";
  ledger_ = {};
  patch_import({{"metadata", {{"finalizers", {std::string(api::kCleanupFinalizer)}}}}});
  ASSERT_TRUE(store_->remove(kube::types::kVirtualMachineImport, import_.key(),
                             kube::Propagation::Background, {}, {}));
  clock_.advance(std::chrono::hours(1));
  memory_.credentials_doubted = true;
  EXPECT_EQ(obtain(), "provider") << "one that is deleted";

  memory_ = {};  // a coordinator that has taken over
  EXPECT_THAT(obtain(), HasSubstr("'n/s' does not exist"));
  EXPECT_THAT(obtain(), HasSubstr("put that secret back"));
}

// A wait is no news for who has something to mend.
TEST_F(SourceAccessTest, AWaitLeavesTheReasonOfABlockedImport) {
  ASSERT_EQ(obtain(), "provider");
  const json blocked = {{{"type", "Valid"},
                         {"status", "False"},
                         {"reason", "IncompleteMappingRules"},
                         {"message", "map the network"}}};
  const auto waits = [&] {
    clock_.advance(WaitingLine::kPlaceKept);  // it was called, and did not come
    const auto turn = occupied();
    SourceTurns::Call hangs(turns_, kUrl);
    clock_.advance(SourceTurns::kSlow + std::chrono::seconds(1));
    return run(connect_source);
  };
  EXPECT_EQ(waits(), StepResult::Kind::Again);
  EXPECT_EQ(condition("Valid"), "False/UnreachableProvider");
  ASSERT_TRUE(store_->patch_status(kube::types::kVirtualMachineImport, import_.key(),
                                   {{"status", {{"conditions", blocked}}}}, {}));
  EXPECT_EQ(waits(), StepResult::Kind::Again);
  EXPECT_EQ(condition("Valid"), "False/IncompleteMappingRules");
}

}  // namespace
}  // namespace vmferry::imports
