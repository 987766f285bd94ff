#include "common/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>

#include "common/catalogue.h"
#include "common/result.h"

namespace vmferry {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return make_error(ErrorKind::InvalidArgument, "{} is odd", value);
  return value / 2;
}

Result<int> quarter(int value) {
  const int halved = TRY(half(value));
  return half(halved);
}

TEST(ResultTest, TryPassesTheValueOn) { EXPECT_EQ(*quarter(8), 2); }

TEST(ResultTest, TryReturnsTheFirstError) {
  const Result<int> result = quarter(6);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "3 is odd");
}

TEST(ErrorTest, ContextNamesTheObjectBeforeTheText) {
  const Error error =
      make_error(ErrorKind::Unavailable, "connection refused").with_context("disk 'boot'");
  EXPECT_EQ(error.message(), "disk 'boot': connection refused");
  EXPECT_EQ(error.kind(), ErrorKind::Unavailable);
}

TEST(ErrorTest, OnlyPassingFailuresAreRetryable) {
  EXPECT_TRUE(is_retryable(ErrorKind::Unavailable));
  EXPECT_TRUE(is_retryable(ErrorKind::Aborted));
  EXPECT_TRUE(is_retryable(ErrorKind::DeadlineExceeded));
  EXPECT_FALSE(is_retryable(ErrorKind::DataLoss));
  EXPECT_FALSE(is_retryable(ErrorKind::PermissionDenied));
  EXPECT_FALSE(is_retryable(ErrorKind::Canceled));
}

TEST(ErrorTest, KindsSurviveTheirNames) {
  for (int i = 0; i <= static_cast<int>(ErrorKind::Internal); ++i) {
    const auto kind = static_cast<ErrorKind>(i);
    EXPECT_EQ(error_kind_from_string(to_string(kind)), kind);
  }
  EXPECT_EQ(error_kind_from_string("Bogus"), ErrorKind::Internal);
}

TEST(ErrorTest, FullDisksCarryTheirCode) {
  EXPECT_EQ(errno_error(ENOSPC, "write").code(), code::kTargetFull);
  EXPECT_EQ(errno_error(EIO, "write").kind(), ErrorKind::DataLoss);
}

TEST(ErrorTest, AShortageOfThisMachineMayPass) {
  for (const int shortage : {EMFILE, ENFILE, ENOMEM, EAGAIN}) {
    EXPECT_EQ(errno_error(shortage, "open").kind(), ErrorKind::Unavailable) << shortage;
  }
}

TEST(ErrorTest, WhatLibrariesThrowIsCaughtByKind) {
  const auto caught = [](const auto& exception) {
    try {
      throw exception;
    } catch (...) {
      return caught_error("copy");
    }
  };
  const auto no_thread = std::make_error_code(std::errc::resource_unavailable_try_again);
  EXPECT_EQ(caught(std::bad_alloc()).kind(), ErrorKind::Unavailable);
  EXPECT_EQ(caught(std::system_error(no_thread)).kind(), ErrorKind::Unavailable);
  EXPECT_EQ(caught(std::logic_error("wrong")), Error(ErrorKind::Internal, "copy: wrong"));
  EXPECT_EQ(caught(1).kind(), ErrorKind::Internal);
}

TEST(CatalogueTest, EveryEntryTellsCauseAndRemedyOnce) {
  std::string_view last;
  for (const CatalogueEntry& entry : error_catalogue()) {
    EXPECT_LT(last, entry.code);
    EXPECT_FALSE(entry.cause.empty()) << entry.code;
    EXPECT_FALSE(entry.remedy.empty()) << entry.code;
    last = entry.code;
  }
  EXPECT_TRUE(find_catalogue_entry(code::kVerifyFailed));
  EXPECT_FALSE(find_catalogue_entry(""));
}

}  // namespace
}  // namespace vmferry
