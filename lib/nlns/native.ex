defmodule Nlns.Native do
  @moduledoc false
  # Stubs only. A module that is recompiled is loaded again, which the library refuses while helper threads
  # are alive, so this module must have no reason to be recompiled. No function that a caller is in
  # receives, because a process that waits inside old code keeps a module from being purged.
  #
  # native/nlns/src/ has the functions that do the work, and their answers. None is dirty, looks up a path or
  # waits.

  @on_load :on_load

  @type resource :: reference()

  # Returns an error only if the module is loaded already, which then stays with its library, or if old code still
  # has the library, which the next call finds purged. The first time it returns none, because that would end a
  # release at boot, before the application can say why.
  @spec on_load() :: :ok | {:error, {atom(), charlist()}}
  def on_load do
    reload? = function_exported?(__MODULE__, :start, 3)

    with {:error, _why} = error <- load_after_purge(if(reload?, do: 0, else: 1_000)),
         do: if(reload? or :erlang.check_old_code(__MODULE__), do: error, else: :ok)
  end

  # Between a delete and the purge the old code still has the library, or its types of resources (`:load`).
  defp load_after_purge(tries) do
    case load() do
      {:error, {kind, _text}} when kind in [:reload, :upgrade, :load] and tries > 0 ->
        receive after: (1 -> load_after_purge(tries - 1))

      loaded_or_not ->
        loaded_or_not
    end
  end

  # An escript has no directory of nlns.
  @spec load() :: :ok | {:error, {atom(), charlist()}}
  def load do
    case :code.lib_dir(:nlns) do
      {:error, :bad_name} -> {:error, {:bad_name, []}}
      directory -> :erlang.load_nif(directory ++ ~c"/priv/native/libnlns", 0)
    end
  end

  @spec start(pos_integer(), non_neg_integer() | nil, pos_integer()) :: :ok | {:error, integer()}
  def start(_max_helpers, _idle_timeout, _max_queue), do: stub()

  @spec stop(reference()) :: :ok | :pending
  def stop(_ref), do: stub()

  @spec open(
          binary() | pos_integer(),
          non_neg_integer(),
          non_neg_integer(),
          non_neg_integer(),
          reference()
        ) ::
          {:ok, resource()} | {:error, {Nlns.stage(), integer()}}
  def open(_path_or_pid, _domain, _type, _protocol, _ref), do: stub()

  @spec open_handle(
          binary() | pos_integer(),
          non_neg_integer(),
          non_neg_integer(),
          non_neg_integer(),
          reference()
        ) ::
          {:ok, resource()} | {:error, {Nlns.stage(), integer()}}
  def open_handle(_path_or_pid, _domain, _type, _protocol, _ref), do: stub()

  @spec exchange(
          binary() | pos_integer(),
          non_neg_integer(),
          binary(),
          non_neg_integer(),
          non_neg_integer() | nil,
          reference()
        ) ::
          {:ok, resource()} | {:error, {Nlns.Error.stage(), integer()}}
  def exchange(_path_or_pid, _protocol, _request, _max_reply, _timeout, _ref), do: stub()

  @spec take(resource()) :: {:ok, non_neg_integer()} | {:error, :closed}
  def take(_resource), do: stub()

  @spec borrow(resource()) ::
          {:ok, non_neg_integer(), resource(), :always | :unused | :never} | {:error, :closed}
  def borrow(_resource), do: stub()

  @spec close(resource(), reference()) :: :ok | :pending
  def close(_resource, _ref), do: stub()

  @spec close_after(resource(), non_neg_integer()) :: :ok
  def close_after(_resource, _duplicate), do: stub()

  @spec cancel(resource(), reference()) ::
          :before | :during | :after | {:pending, :before | :during | :after}
  def cancel(_resource, _ref), do: stub()

  @spec is_sent(resource()) :: boolean()
  def is_sent(_resource), do: stub()

  @spec thread_exists(integer()) :: boolean()
  def thread_exists(_thread), do: stub()

  @spec release(binary() | pos_integer(), reference()) ::
          :ok | {:pending, resource()} | {:error, {Nlns.stage(), integer()}}
  def release(_path_or_pid, _ref), do: stub()

  @spec info() :: map() | nil
  def info, do: stub()

  @spec events() :: [
          {:pinned, pos_integer(), Nlns.netns(), pos_integer()}
          | {:left, pos_integer(), Nlns.netns(), pos_integer(), non_neg_integer(), atom()}
        ]
  def events, do: stub()

  @spec close_fd(non_neg_integer(), reference()) :: :ok | :pending
  def close_fd(_fd, _ref), do: stub()

  @spec bind_netlink(non_neg_integer(), non_neg_integer()) :: :ok | {:error, integer()}
  def bind_netlink(_fd, _groups), do: stub()

  @spec adopted(non_neg_integer(), boolean()) :: :ok | {:error, integer()}
  def adopted(_fd, _remembered?), do: stub()

  @type feature :: %{
          name: String.t(),
          since: {pos_integer(), non_neg_integer()},
          gives: String.t(),
          stand_in: String.t(),
          is_there: boolean()
        }
  @spec features() :: [feature()]
  def features, do: stub()

  @spec is_running(pos_integer()) :: boolean() | nil
  def is_running(_pid), do: stub()

  @spec strerror(integer()) :: String.t()
  def strerror(_errno), do: stub()

  defp stub, do: :erlang.nif_error(:not_loaded)
end
