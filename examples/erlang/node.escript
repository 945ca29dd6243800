#!/usr/bin/env escript
%% -*- erlang -*-

%% A small MCP node on standard input and output, made as erlmcp v3 is: one process is one session, and what its
%% patterns do not match ends it. Bad input that never gets as far as a pattern is dropped without a word. The guard in
%% guard.yaml keeps all of that away from it; see README.md.
-mode(compile).

-define(VERSION, <<"2025-11-25">>).
-define(DIGITS, "0123456789").

main(_) ->
    ok = io:setopts(standard_io, [binary, {encoding, latin1}]),
    loop(#{phase => closed, calls => 0}).

loop(State) ->
    %% Bytes in, bytes out: the texts of JSON stay UTF-8.
    case file:read_line(standard_io) of
        eof -> halt(0);
        {ok, Line} -> loop(line(Line, State))
    end.

%% What is no JSON gets no reply, as in erlmcp.
line(Line, State) ->
    case catch decode(Line) of
        {ok, Message} -> message(Message, State);
        _ -> State
    end.

%% Neither does what is no JSON-RPC request or notification. A response is looked up among the node's own requests; it
%% makes none, so there is nothing to match.
message(#{<<"jsonrpc">> := <<"2.0">>, <<"method">> := Method, <<"id">> := Id} = Message, State)
  when is_binary(Method), is_integer(Id); is_binary(Method), is_binary(Id) ->
    request(Method, Id, maps:get(<<"params">>, Message, undefined), State);
message(#{<<"jsonrpc">> := <<"2.0">>, <<"id">> := Id} = Response, State)
  when is_map_key(<<"result">>, Response); is_map_key(<<"error">>, Response) ->
    #{Id := _} = maps:get(asked, State, #{}),
    State;
message(_, State) ->
    State.

request(<<"initialize">>, Id, Params, State) ->
    initialize(Id, Params, State);
request(<<"ping">>, Id, _, State) ->
    result(Id, #{}, State);
request(_, Id, _, #{phase := closed} = State) ->
    error(Id, -32005, <<"not initialized">>, State);
request(<<"tools/list">>, Id, Params, State) ->
    list(Id, Params, <<"tools">>, tools(), State);
request(<<"prompts/list">>, Id, Params, State) ->
    list(Id, Params, <<"prompts">>, prompts(), State);
request(<<"resources/list">>, Id, Params, State) ->
    list(Id, Params, <<"resources">>, resources(), State);
request(<<"tools/call">>, Id, Params, State) ->
    call(Id, Params, State);
request(<<"prompts/get">>, Id, #{<<"name">> := <<"greeting">>}, State) ->
    Message = #{<<"role">> => <<"user">>, <<"content">> => text(<<"Greet the user in Swedish.">>)},
    result(Id, #{<<"messages">> => [Message]}, State);
request(<<"prompts/get">>, Id, #{<<"name">> := _}, State) ->
    error(Id, -32003, <<"prompt not found">>, State);
request(<<"resources/read">>, Id, #{<<"uri">> := <<"erlang://release">> = Uri}, State) ->
    Release = list_to_binary(erlang:system_info(otp_release)),
    result(Id, #{<<"contents">> => [#{<<"uri">> => Uri, <<"text">> => Release}]}, State);
request(<<"resources/read">>, Id, #{<<"uri">> := _}, State) ->
    error(Id, -32001, <<"resource not found">>, State);
request(Method, Id, _, State)
  when Method =/= <<"prompts/get">>, Method =/= <<"resources/read">> ->
    error(Id, -32601, <<"method not found">>, State).

initialize(Id, #{<<"protocolVersion">> := Version, <<"clientInfo">> := #{<<"name">> := _, <<"version">> := _}},
           #{phase := closed} = State) ->
    case lists:member(Version, [<<"2024-11-05">>, ?VERSION]) of
        true ->
            Info = #{<<"name">> => <<"erlang-node">>, <<"version">> => <<"1.0.0">>},
            Capabilities = #{<<"tools">> => #{}, <<"prompts">> => #{}, <<"resources">> => #{}},
            Result = #{<<"protocolVersion">> => ?VERSION, <<"serverInfo">> => Info, <<"capabilities">> => Capabilities},
            Open = result(Id, Result, State#{phase := open}),
            %% The wrong way round, but that is what erlmcp does.
            send(#{<<"jsonrpc">> => <<"2.0">>, <<"method">> => <<"notifications/initialized">>, <<"params">> => #{}}),
            Open;
        false ->
            error(Id, -32061, <<"unsupported protocol version">>, State)
    end;
initialize(Id, #{<<"clientInfo">> := _}, #{phase := open} = State) ->
    error(Id, -32005, <<"already initialized">>, State).

list(Id, #{} = _Params, Key, Items, State) ->
    result(Id, #{Key => Items}, State).

%% The session waits while a tool runs.
call(Id, #{<<"name">> := Name} = Params, #{calls := Calls} = State) ->
    Arguments = #{} = maps:get(<<"arguments">>, Params, #{}),
    case tool(Name, Arguments, Calls + 1) of
        {ok, Text} -> result(Id, #{<<"content">> => [text(Text)]}, State#{calls := Calls + 1});
        {error, Code, Text} -> error(Id, Code, Text, State#{calls := Calls + 1})
    end.

tool(<<"add">>, #{<<"a">> := A, <<"b">> := B}, _) ->
    {ok, number(A + B)};
tool(<<"calls">>, _, Calls) ->
    {ok, integer_to_binary(Calls)};
tool(<<"crash">>, _, _) ->
    exit(asked_to);
tool(<<"echo">>, #{<<"text">> := Text}, _) ->
    {ok, Text};
tool(<<"internal_error">>, _, _) ->
    {error, -32603, <<"internal error">>};
tool(<<"sleep">>, #{<<"ms">> := Ms}, _) ->
    timer:sleep(Ms),
    {ok, <<"slept">>};
tool(_, _, _) ->
    {error, -32002, <<"tool not found">>}.

tools() ->
    [described(<<"add">>, <<"Adds two numbers">>, [{<<"a">>, <<"number">>}, {<<"b">>, <<"number">>}]),
     described(<<"calls">>, <<"How many tools this session has called">>),
     described(<<"crash">>, <<"Ends the session">>),
     described(<<"echo">>, <<"Says what it was told">>, [{<<"text">>, <<"string">>}]),
     described(<<"internal_error">>, <<"Runs, and answers as erlmcp v3 answers every call">>),
     described(<<"sleep">>, <<"Answers after a while">>, [{<<"ms">>, <<"integer">>}])].

described(Name, Description) ->
    described(Name, Description, []).

described(Name, Description, Arguments) ->
    Properties = maps:from_list([{Argument, #{<<"type">> => Type}} || {Argument, Type} <- Arguments]),
    Required = [Argument || {Argument, _} <- Arguments],
    Schema = #{<<"type">> => <<"object">>, <<"properties">> => Properties, <<"required">> => Required},
    #{<<"name">> => Name, <<"description">> => Description, <<"inputSchema">> => Schema}.

prompts() ->
    [#{<<"name">> => <<"greeting">>, <<"description">> => <<"Asks for a greeting">>}].

resources() ->
    [#{<<"uri">> => <<"erlang://release">>, <<"name">> => <<"release">>, <<"description">> => <<"The OTP release">>}].

text(Text) ->
    #{<<"type">> => <<"text">>, <<"text">> => Text}.

%% Answers: each leaves the state as it is, and is a line.

result(Id, Result, State) ->
    send(#{<<"jsonrpc">> => <<"2.0">>, <<"id">> => Id, <<"result">> => Result}),
    State.

error(Id, Code, Message, State) ->
    Error = #{<<"code">> => Code, <<"message">> => Message},
    send(#{<<"jsonrpc">> => <<"2.0">>, <<"id">> => Id, <<"error">> => Error}),
    State.

send(Message) ->
    ok = file:write(standard_io, [encode(Message), $\n]).

%% JSON (RFC 8259), as much as messages need; OTP has it from release 27 on.

encode(true) -> <<"true">>;
encode(false) -> <<"false">>;
encode(null) -> <<"null">>;
encode(Text) when is_binary(Text) -> [$", [escape(Byte) || <<Byte>> <= Text], $"];
encode(Number) when is_number(Number) -> number(Number);
encode(List) when is_list(List) -> [$[, lists:join($,, [encode(Item) || Item <- List]), $]];
encode(Map) when is_map(Map) ->
    [${, lists:join($,, [[encode(Key), $:, encode(Value)] || {Key, Value} <- maps:to_list(Map)]), $}].

escape($") -> <<"\\\"">>;
escape($\\) -> <<"\\\\">>;
escape(Control) when Control < 16#20 -> io_lib:format("\\u~4.16.0b", [Control]);
escape(Byte) -> Byte.

number(Integer) when is_integer(Integer) -> integer_to_binary(Integer);
number(Float) when is_float(Float) -> float_to_binary(Float, [short]).

decode(Text) ->
    {Value, Rest} = value(space(Text)),
    <<>> = space(Rest),
    {ok, Value}.

value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<"null", Rest/binary>>) -> {null, Rest};
value(<<$", Rest/binary>>) -> string(Rest, <<>>);
value(<<$[, Rest/binary>>) -> items(space(Rest), []);
value(<<${, Rest/binary>>) -> members(space(Rest), #{});
value(Text) -> scan_number(Text).

items(<<$], Rest/binary>>, []) ->
    {[], Rest};
items(Text, Items) ->
    {Item, Rest} = value(Text),
    case space(Rest) of
        <<$,, More/binary>> -> items(space(More), [Item | Items]);
        <<$], More/binary>> -> {lists:reverse(Items, [Item]), More}
    end.

members(<<$}, Rest/binary>>, Members) when Members =:= #{} ->
    {#{}, Rest};
members(<<$", Text/binary>>, Members) ->
    {Key, AfterKey} = string(Text, <<>>),
    <<$:, AfterColon/binary>> = space(AfterKey),
    {Value, Rest} = value(space(AfterColon)),
    case space(Rest) of
        <<$,, More/binary>> -> members(space(More), Members#{Key => Value});
        <<$}, More/binary>> -> {Members#{Key => Value}, More}
    end.

string(<<$", Rest/binary>>, Text) -> {Text, Rest};
string(<<$\\, $u, High:4/binary, $\\, $u, Low:4/binary, Rest/binary>>, Text)
  when High >= <<"D800">>, High < <<"DC00">>; High >= <<"d800">>, High < <<"dc00">> ->
    Pair = <<(binary_to_integer(High, 16)):16, (binary_to_integer(Low, 16)):16>>,
    [Character] = unicode:characters_to_list(Pair, {utf16, big}),
    string(Rest, <<Text/binary, Character/utf8>>);
string(<<$\\, $u, Hex:4/binary, Rest/binary>>, Text) ->
    string(Rest, <<Text/binary, (binary_to_integer(Hex, 16))/utf8>>);
string(<<$\\, Escaped, Rest/binary>>, Text) ->
    #{Escaped := Byte} =
        #{$" => $", $\\ => $\\, $/ => $/, $b => $\b, $f => $\f, $n => $\n, $r => $\r, $t => $\t},
    string(Rest, <<Text/binary, Byte>>);
string(<<Byte, Rest/binary>>, Text) when Byte >= 16#20 -> string(Rest, <<Text/binary, Byte>>).

scan_number(Text) ->
    Length = length(lists:takewhile(fun(C) -> lists:member(C, "+-.eE" ?DIGITS) end, binary_to_list(Text))),
    <<Number:Length/binary, Rest/binary>> = Text,
    {parse_number(Number), Rest}.

parse_number(Number) ->
    try binary_to_integer(Number)
    catch error:badarg ->
        %% Erlang wants a fraction before an exponent.
        case binary:split(Number, [<<"e">>, <<"E">>]) of
            [Mantissa, Exponent] -> binary_to_float(<<(with_fraction(Mantissa))/binary, "e", Exponent/binary>>);
            [Decimal] -> binary_to_float(Decimal)
        end
    end.

with_fraction(Mantissa) ->
    case binary:match(Mantissa, <<".">>) of
        nomatch -> <<Mantissa/binary, ".0">>;
        _ -> Mantissa
    end.

space(<<Byte, Rest/binary>>) when Byte =:= $\s; Byte =:= $\t; Byte =:= $\n; Byte =:= $\r -> space(Rest);
space(Text) -> Text.
