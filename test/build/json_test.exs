defmodule NlnsNative.JsonTest do
  use ExUnit.Case, async: true

  alias NlnsNative.Json

  test "each kind of value" do
    assert Json.decode(~S( {"a": [1, -2.5, 1e2, true, false, null], "b": {}, "c": [] } )) ==
             {:ok, %{"a" => [1, -2.5, 100.0, true, false, nil], "b" => %{}, "c" => []}}

    assert Json.decode("0") == {:ok, 0}
    assert Json.decode(~s("text")) == {:ok, "text"}
  end

  test "every escape in a string" do
    assert Json.decode(~S("\" \\ \/ \b \f \n \r \t")) == {:ok, "\" \\ / \b \f \n \r \t"}
    assert Json.decode(~S("\u0041\u00e4\u20AC")) == {:ok, "Aä€"}
    assert Json.decode(~S("\ud83d\ude00")) == {:ok, "😀"}
    assert Json.decode(~s("ä€😀")) == {:ok, "ä€😀"}
  end

  test "other text is refused" do
    for text <- [
          "",
          "{",
          "nul",
          "01",
          "1.",
          "+1",
          "[1,]",
          "[1 2]",
          "[,]",
          ~s({"a": 1,}),
          ~s({"a" 1}),
          ~s({a: 1}),
          ~s({"a": 1]),
          "[1}",
          "1 2",
          ~s("open),
          ~s("a\nb"),
          ~S("\x"),
          ~S("\u12"),
          ~S("\u+123"),
          ~S("\ud83d"),
          ~S("\ud83d\u0041"),
          ~S("\ude00")
        ] do
      assert {text, Json.decode(text)} == {text, :error}
    end
  end
end
